//! A folder of files, written whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Writes these files, by their paths below the folder, beside it and renames that at the end. What was in it is gone.
///
/// # Errors
/// A file cannot be written, or an old one not removed.
pub fn replace(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let unfinished = folder.with_extension("unfinished");
    for old in [&unfinished, folder] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("{}", old.display()))?;
        }
    }
    for (path, bytes) in files {
        let path = unfinished.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{}", parent.display()))?;
        }
        fs::write(&path, bytes).with_context(|| format!("{}", path.display()))?;
    }
    fs::rename(&unfinished, folder).with_context(|| format!("{}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn files_of_an_older_release_do_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("dist");
        let files = |name: &str| [(name.to_owned(), b"text".to_vec())].into();
        replace(&target, &files("deploy/old.yaml")).unwrap();
        replace(&target, &files("new.yaml")).unwrap();
        assert!(target.join("new.yaml").is_file() && !target.join("deploy").exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished stays");
    }
}
