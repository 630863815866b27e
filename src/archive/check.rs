//! Whether a layer in the store is what its digests say: its tar is made again, and its tree is
//! looked at where the tar does not come from it alone.

use std::io;
use std::os::fd::AsFd;

use crate::archive::save::write_again;
use crate::error::{Kind, Result};
use crate::layer::{Form, outline};
use crate::store::{Layer, Store};

/// What was expected of a layer and what was found, if that is another.
pub fn differs(store: &Store, layer: &Layer) -> Result<Option<(String, String)>> {
    // First, so that what is read afterwards is of the kind that it should be.
    if let (Some(tree), Some(name)) = (&layer.tree, &layer.name) {
        let (dir, by_name) = store.open_layer(name)?;
        let found = outline(dir.as_fd(), Form::new(by_name))?;
        if found != *tree {
            let expected = format!("the tree {}", tree.short());
            return Ok(Some((expected, found.short())));
        }
    }
    let found = match write_again(store, layer, &mut io::sink()) {
        Ok((diff_id, bytes)) if diff_id == layer.diff_id && bytes == layer.tar_bytes => {
            return Ok(None);
        }
        Ok((diff_id, bytes)) => format!("{}, {bytes} bytes", diff_id.short()),
        // Whatever else failed says nothing of the layer.
        Err(error) => match error.kind() {
            Kind::Corrupt | Kind::Input | Kind::NotFound => error.text().to_owned(),
            _ => return Err(error),
        },
    };
    let expected = format!("the layer {}, {} bytes", layer.diff_id.short(), layer.tar_bytes);
    Ok(Some((expected, found)))
}
