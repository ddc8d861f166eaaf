use super::*;

/// What a login's content looks like: two tokens that say nearly the same, signatures, and the fields.
fn content(groups: usize) -> Vec<u8> {
    let groups: Vec<_> = (0..groups).map(|number| format!("\"group-{number:03}\"")).collect();
    let token = format!(
        r#"{{"alg":"HS256","typ":"JWT"}}{{"sub":"7f6c","preferred_username":"alice","groups":[{}]}}"#,
        groups.join(",")
    );
    let signature: Vec<u8> = (0..=u8::MAX).map(|byte| byte.wrapping_mul(167) ^ 0x5a).collect();
    [token.as_bytes(), &signature, token.as_bytes(), &signature, b"\n{\"b\":1800000000000}"].concat()
}

/// An LZ4 block behind its length.
fn packed(size: u32, block: &[u8]) -> Vec<u8> {
    [&[LZ4][..], &size.to_le_bytes(), block].concat()
}

#[test]
fn content_round_trips_and_is_smaller_when_packed() {
    for content in [content(0), content(3), content(1_000), USUAL.to_vec()] {
        let packed = pack(&content).unwrap();
        assert!(packed.expose().len() < content.len(), "{} of {}", packed.expose().len(), content.len());
        assert_eq!(unpack(packed.expose()).unwrap().expose(), &content);
        let as_it_is = as_it_is(&content);
        assert_eq!(as_it_is.expose().len(), content.len() + 1);
        assert_eq!(unpack(as_it_is.expose()).unwrap().expose(), &content);
    }
}

#[test]
fn any_bytes_round_trip() {
    let mut state = 1_u32;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    for size in (0..70).chain([255, 256, 4_096, 65_535, 65_536, 70_000, MAX_CONTENT_BYTES]) {
        let random: Vec<u8> = (0..size).map(|_| noise()).collect();
        // Few values, so that matches are long, overlap each other and lie across the end of the usual text.
        let repetitive: Vec<u8> = random.iter().map(|byte| b"}]\",1"[usize::from(byte % 5)]).collect();
        for content in [random, repetitive, vec![b'}'; size]] {
            let packed = pack(&content).unwrap();
            assert_eq!(unpack(packed.expose()).unwrap().expose(), &content, "{size}");
        }
    }
}

#[test]
fn content_above_the_bound_is_neither_packed_nor_unpacked() {
    let longest = vec![b'a'; MAX_CONTENT_BYTES];
    assert!(unpack(pack(&longest).unwrap().expose()).is_some());
    let longer = vec![b'a'; MAX_CONTENT_BYTES + 1];
    assert!(pack(&longer).is_none());
    let block = block::compress_with_dict(&longer, USUAL);
    assert!(unpack(&packed(u32::try_from(longer.len()).unwrap(), &block)).is_none());
    assert!(unpack(as_it_is(&longest).expose()).is_some());
    assert!(unpack(as_it_is(&longer).expose()).is_none());
}

#[test]
fn block_that_says_it_is_short_and_is_not_is_rejected() {
    // One letter, repeated for as long as these bytes say: 255 each.
    let block = [&[0x1f, b'a', 1, 0][..], &[0xff; 20_000], &[0]].concat();
    for size in [0, 1, 1_000, 262_144, 262_145, 5_000_000, u32::MAX] {
        assert!(unpack(&packed(size, &block)).is_none(), "{size}");
    }
}

#[test]
fn content_shorter_than_its_length_says_is_rejected() {
    // Three letters and no more.
    let block = [0x30, b'a', b'b', b'c'];
    assert_eq!(unpack(&packed(3, &block)).unwrap().expose(), b"abc");
    for size in [0, 2, 4, 100] {
        assert!(unpack(&packed(size, &block)).is_none(), "{size}");
    }
}

#[test]
fn cut_content_is_rejected() {
    let content = content(20);
    let packed = pack(&content).unwrap();
    for length in 0..packed.expose().len() {
        assert!(unpack(&packed.expose()[..length]).is_none(), "{length}");
    }
}

/// No key of ours opens such bytes; still, none of them may be a panic or longer than the length says.
#[test]
fn no_flipped_bit_panics_or_unpacks_to_another_length() {
    let content = content(20);
    let packed = pack(&content).unwrap();
    let (mut same, mut others) = (0, 0);
    for place in 0..packed.expose().len() {
        for bit in 0..8 {
            let mut flipped = packed.expose().clone();
            flipped[place] ^= 1 << bit;
            match unpack(&flipped) {
                Some(unpacked) => {
                    let is_marker = place == 0;
                    assert!(is_marker || unpacked.expose().len() == content.len(), "{place}");
                    same += 1;
                }
                None => others += 1,
            }
        }
    }
    assert!(same > 0 && others > 0, "{same} unpacked, {others} did not");
}

#[test]
fn content_of_the_form_before_is_rejected() {
    assert!(unpack(&content(3)).is_none(), "the tokens' bytes as they are");
    for content in [&b"opaque\n{\"b\":1}"[..], b"\n{}", b"", b"a", b"\x02\0\0\0\0", b"\x01", b"\x01\0\0\0"] {
        assert!(unpack(content).is_none(), "{content:?}");
    }
}
