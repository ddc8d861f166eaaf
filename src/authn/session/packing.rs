//! The content of a session, packed: the cookie travels with every request, and the two tokens of a login say nearly the same.
//!
//! Owns: the form (a byte that says whether it is packed; the length as four bytes and a block of LZ4) and what is presumed to
//! be in every content.
//! Must not: unpack what was not opened by a key of ours, or more than [`MAX_CONTENT_BYTES`].
//!
//! LZ4 and not Deflate: a first sight packs, and Deflate's tables cost it several times as much, and the module more bytes.

use lz4_flex::block;

use crate::base::secret::Secret;

/// Longest content. A login's two tokens with a thousand groups of a hundred bytes fit; what would not is not sealed.
pub const MAX_CONTENT_BYTES: usize = 256 * 1024;

/// What authentik's claims and our fields usually look like, in their order: a content refers to it as to its own
/// beginning. Part of the form: with another text, no session opens that was sealed with this one.
const USUAL: &[u8] = br#"{"alg":"RS256","kid":"{"alg":"HS256","typ":"JWT"}{"iss":"https://auth.example.com/application/o/","sub":"","aud":"","exp":18,"iat":18,"auth_time":18,"acr":"goauthentik.io/providers/oauth2/default","amr":["pwd","mfa"],"nonce":"","sid":"","jti":"","ak_proxy":{"user_attributes":{"additionalHeaders":{"X-"},"settings":{"locale":"en"}},"is_superuser":false},"email":"@example.com","email_verified":false,"entitlements":[],"roles":[],"name":"","given_name":"","preferred_username":"","nickname":"","groups":["authentik Admins","],"azp":"","uid":"","scope":"email entitlements ak_proxy profile openid"}
{"b":18,"e":3600,"c":3600,"f":"","t":[true,[139,,256]],"i":[true,[139,{"b":18,"e":86400,"c":86400,"t":[true,[27,,32]],"i":[true,[27,"#;

/// The first byte of what is sealed.
const AS_IT_IS: u8 = 0;
const LZ4: u8 = 1;

/// A content that is not packed.
pub fn as_it_is(content: &[u8]) -> Secret<Vec<u8>> {
    Secret::new([&[AS_IT_IS][..], content].concat())
}

/// Packs a content. `None`: it is too long to be unpacked again.
pub fn pack(content: &[u8]) -> Option<Secret<Vec<u8>>> {
    let size = u32::try_from(content.len()).ok().filter(|_| content.len() <= MAX_CONTENT_BYTES)?;
    let mut packed = vec![0; block::get_maximum_output_size(content.len())];
    let length = block::compress_into_with_dict(content, &mut packed, USUAL);
    let packed = Secret::new(packed);
    let block = packed.expose().get(..length.ok()?)?;
    Some(Secret::new([&[LZ4][..], &size.to_le_bytes(), block].concat()))
}

/// Unpacks a content. `None`: these bytes are none, or it would be longer than it may.
pub fn unpack(packed: &[u8]) -> Option<Secret<Vec<u8>>> {
    match packed.split_first()? {
        (&AS_IT_IS, content) if content.len() <= MAX_CONTENT_BYTES => Some(Secret::new(content.to_vec())),
        (&LZ4, packed) => {
            let (size, block) = block::uncompressed_size(packed).ok()?;
            if size > MAX_CONTENT_BYTES {
                return None;
            }
            let mut content = vec![0; size];
            let written = block::decompress_into_with_dict(block, &mut content, USUAL);
            let content = Secret::new(content);
            (written.ok()? == size).then_some(content)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
