//! The bytes of a layer's file: a magic line, the length of a JSON header, the header, the objects' bytes one
//! after the other, and a BLAKE3 checksum of all that.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::diagnostic::Place;
use crate::model::digest::{LayerDigest, ObjectDigest};
use crate::model::object::ObjectKey;
use crate::model::release::{ReleaseObject, RenderedLayer};
use crate::release::canonical::layer_digest;

const MAGIC: &[u8] = b"fairlead layer file 1\n";
const CHECKSUM: usize = blake3::OUT_LEN;

#[derive(Serialize, Deserialize)]
struct Header {
    digest: LayerDigest,
    places: Places,
    objects: Vec<ObjectHeader>,
}

#[derive(Serialize, Deserialize)]
struct ObjectHeader {
    key: ObjectKey,
    version: String,
    digest: ObjectDigest,
    length: usize,
}

/// Where the objects of a layer are written: file, line and column of each. Apart from the layer, because
/// layers with equal bytes share one file and may be written in several places.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Places {
    files: Vec<String>,
    at: Vec<(usize, u32, u32)>,
}

impl Places {
    pub(super) fn of(layer: &RenderedLayer) -> Self {
        let mut places = Self::default();
        for Place { file, line, column } in layer.objects.iter().map(|object| &object.place) {
            // Objects of one file stand together.
            if places.files.last() != Some(file) {
                places.files.push(file.clone());
            }
            places.at.push((places.files.len() - 1, *line, *column));
        }
        places
    }

    /// Puts them into a layer; nothing if they are not that layer's.
    pub(super) fn put(&self, layer: &mut RenderedLayer) -> Option<()> {
        if self.at.len() != layer.objects.len() {
            return None;
        }
        for (object, (file, line, column)) in layer.objects.iter_mut().zip(&self.at) {
            object.place = Place::at(self.files.get(*file)?, *line, *column);
        }
        Some(())
    }
}

pub(super) fn encode(layer: &RenderedLayer) -> serde_json::Result<Vec<u8>> {
    let object = |object: &ReleaseObject| ObjectHeader {
        key: object.key.clone(),
        version: object.version.clone(),
        digest: object.digest,
        length: object.bytes.len(),
    };
    let objects = layer.objects.iter().map(object).collect();
    let header = serde_json::to_vec(&Header { digest: layer.digest, places: Places::of(layer), objects })?;
    let bodies: usize = layer.objects.iter().map(|object| object.bytes.len()).sum();
    let mut out = Vec::with_capacity(MAGIC.len() + 8 + header.len() + bodies + CHECKSUM);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(header.len() as u64).to_le_bytes());
    out.extend_from_slice(&header);
    layer.objects.iter().for_each(|object| out.extend_from_slice(&object.bytes));
    seal(&mut out);
    Ok(out)
}

/// The layer; nothing if a bit of it is not as it was written.
pub(super) fn decode(file: Bytes) -> Option<RenderedLayer> {
    let body = unseal(&file)?;
    let rest = body.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_at_checked(8)?;
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let (header, _) = rest.split_at_checked(length)?;
    let header: Header = serde_json::from_slice(header).ok()?;
    // A copy: objects that share the file's bytes would keep its header in memory.
    let bodies = Bytes::copy_from_slice(body.get(MAGIC.len() + 8 + length..)?);
    let mut at = 0_usize;
    let mut objects = Vec::with_capacity(header.objects.len());
    for object in header.objects {
        let end = at.checked_add(object.length).filter(|end| *end <= bodies.len())?;
        objects.push(ReleaseObject {
            key: object.key,
            version: object.version,
            digest: object.digest,
            bytes: bodies.slice(at..end),
            place: Place::default(),
        });
        at = end;
    }
    let whole = at == bodies.len() && layer_digest(&objects) == header.digest;
    let mut layer = RenderedLayer { digest: header.digest, objects };
    header.places.put(&mut layer)?;
    whole.then_some(layer)
}

/// Appends the checksum.
pub(super) fn seal(bytes: &mut Vec<u8>) {
    let checksum = blake3::hash(bytes);
    bytes.extend_from_slice(checksum.as_bytes());
}

/// What is before the checksum, if it is right.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    (blake3::hash(body).as_bytes() == checksum).then_some(body)
}
