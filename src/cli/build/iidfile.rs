//! `--iidfile`: the id of the image in a file, there in full or not at all.

use std::fs::File;
use std::io::{ErrorKind, Write as _};

use crate::error::{Context, Result};
use crate::image::digest::ImageId;
use crate::sys::fs::random_name;

/// Takes the file of an earlier build away.
pub fn remove(path: &str) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(cause).context(|| format!("remove {path:?}"))
        }
        _ => Ok(()),
    }
}

/// Writes the id, without a line end as docker does, beside the place and renames it.
pub fn write(path: &str, image: &ImageId) -> Result<()> {
    let beside = format!("{path}.{}", random_name()?);
    let written = File::create_new(&beside)
        .and_then(|mut file| file.write_all(image.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&beside, path));
    written.context(|| {
        // What is left of it, if anything.
        let _ = std::fs::remove_file(&beside);
        format!("write the image id to {path:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Digest;

    #[test]
    fn the_id_is_written_in_full_and_nothing_is_left_beside_it() {
        let dir = std::env::temp_dir().join(format!("iid-{}", random_name().unwrap()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("id").to_str().unwrap().to_owned();
        remove(&path).unwrap();
        let id = Digest::of(b"");
        write(&path, &id).unwrap();
        write(&path, &id).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), id.to_string());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        remove(&path).unwrap();
        assert!(write(&format!("{path}/x"), &id).is_err());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir(&dir).unwrap();
    }
}
