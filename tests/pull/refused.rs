//! What a registry must not get away with, and must not leave behind.

use super::harness::{Shelf, Web, needs, ok};
use super::{CONFIG, HERE, INDEX, LATEST, LAYER, MANIFEST};
use super::{digest, edited, has_nothing, manifest, name, refused, small};
use crate::harness::{Lath, config_of, descriptor, manifest_of, packed, tar_of};

/// Serves a shelf where one address gives an answer made of its bytes.
fn altered(
    shelf: Shelf,
    target: String,
    alter: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> Web {
    shelf.serve_but(move |shelf, asked| {
        (asked.target() == target).then(|| alter(shelf.bytes(&target).unwrap()))
    })
}

/// 200 with a length that need not be right.
fn with_length(media_type: &str, length: usize, bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), bytes].concat()
}

fn typed(media_type: &str, text: &str) -> Vec<u8> {
    ok(&format!("Content-Type: {media_type}\r\n"), text)
}

#[test]
fn a_manifest_is_judged_before_it_is_read() {
    if !needs(HERE) {
        return;
    }
    let latest = || LATEST.to_owned();
    let serve = |answer: Vec<u8>| altered(Shelf::of(&[small()]), latest(), move |_| answer.clone());
    let text = manifest(&Shelf::of(&[small()]));
    let web = altered(Shelf::of(&[small()]), latest(), |bytes| {
        with_length(MANIFEST, bytes.len() + 7, bytes)
    });
    refused(&web, "7 bytes");
    let web = altered(Shelf::of(&[small()]), latest(), |bytes| {
        with_length(MANIFEST, bytes.len() - 7, bytes)
    });
    refused(&web, "JSON");
    let padded = format!("{text}{}", " ".repeat(4 << 20));
    refused(&serve(typed(MANIFEST, &padded)), "larger than 4 MiB");
    refused(&serve(typed(MANIFEST, "<html>")), "JSON");
    let headers = format!("Docker-Content-Digest: {}\r\nContent-Type: {MANIFEST}\r\n", digest(b""));
    refused(&serve(ok(&headers, &text)), "should be sha256:e3b0c44298fc");
    // Two readers must not see two images (CVE-2021-41190).
    refused(&serve(typed(INDEX, &text)), "is not that of what it names");
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    refused(&serve(typed(docker, &text)), "the server calls it");
    let other = text.replace(MANIFEST, INDEX);
    refused(&serve(typed(INDEX, &other)), "is not that of what it names");
    let both = text.replace("\"layers\"", "\"manifests\":[],\"layers\"");
    refused(&serve(typed(MANIFEST, &both)), "both");
    let both = text
        .replacen('{', "{\"manifests\":[],", 1)
        .replace(&format!("\"mediaType\":\"{MANIFEST}\","), "");
    refused(&serve(typed("application/json", &both)), "both");
    let old = "{\"schemaVersion\":1,\"name\":\"x\",\"fsLayers\":[],\"history\":[]}";
    for media_type in ["application/vnd.docker.distribution.manifest.v1+prettyjws", ""] {
        refused(&serve(typed(media_type, old)), "schema 1");
    }
    let chart = "application/vnd.cncf.chart+json";
    refused(&serve(typed(chart, "{\"schemaVersion\":2}")), chart);
}

#[test]
fn a_digest_in_the_name_is_a_promise() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[small()]);
    let (text, wanted) = (manifest(&shelf), digest(manifest(&shelf).as_bytes()));
    let target = format!("/v2/hub/x/manifests/{wanted}");
    let other = text.replace("schemaVersion\":2", "schemaVersion\":2 ");
    let web = altered(shelf, target, move |_| typed(MANIFEST, &other));
    let lath = Lath::new();
    for reference in [format!("{}@{wanted}", name(&web)), format!("{}:latest@{wanted}", name(&web))]
    {
        let error = lath.fails(&["pull", &reference]);
        assert!(error.contains(&format!("should be {wanted}")), "{error}");
        has_nothing(&lath);
    }
}

/// A shelf where `latest` is an index with these entries, and one good image.
fn indexed(entries: &str) -> Shelf {
    let mut shelf = Shelf::of(&[small()]);
    let text =
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{entries}]}}");
    shelf.manifest("latest", INDEX, &text);
    shelf
}

#[test]
fn an_index_leads_to_what_it_promises() {
    if !needs(HERE) {
        return;
    }
    let good = manifest(&Shelf::of(&[small()]));
    let host = format!(
        "\"platform\":{{\"os\":\"linux\",\"architecture\":\"{}\"}}",
        crate::harness::architecture()
    );
    let on = |descriptor: &str, platform: &str| {
        format!("{},{platform}}}", descriptor.strip_suffix('}').unwrap())
    };
    let entry = descriptor(MANIFEST, good.as_bytes());
    let size = format!("\"size\":{}", good.len());
    for wrong in [good.len() - 1, good.len() + 1] {
        let wrong = entry.replace(&size, &format!("\"size\":{wrong}"));
        refused(&indexed(&on(&wrong, &host)).serve(), "bytes that it should");
    }
    let target = format!("/v2/hub/x/manifests/{}", digest(good.as_bytes()));
    let changed = good.replace("sh", "hs");
    let web = altered(indexed(&on(&entry, &host)), target, move |_| typed(MANIFEST, &changed));
    refused(&web, "should be");
    // Which ones there are is told; what is no image is not among them.
    let of = |platform: &str| format!("\"platform\":{platform}");
    let s390 = on(&entry, &of("{\"os\":\"linux\",\"architecture\":\"s390x\"}"));
    let v5 = on(&entry, &of("{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v5\"}"));
    let unknown = on(&entry, &of("{\"os\":\"unknown\",\"architecture\":\"unknown\"}"));
    let attests = "\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}";
    let attestation = on(&unknown, attests);
    let error = refused(&indexed(&[s390, v5, attestation].join(",")).serve(), "no match");
    assert!(error.contains("it has: linux/s390x, linux/arm/v5\n"), "{error}");
    refused(&indexed("").serve(), "no match");
    // One in the other, as deep as one likes.
    let mut shelf = Shelf::of(&[small()]);
    let mut inner = on(&entry, &host);
    for _ in 0..6 {
        let text = format!("{{\"schemaVersion\":2,\"manifests\":[{inner}]}}");
        inner = shelf.manifest("latest", INDEX, &text);
    }
    refused(&shelf.serve(), "nested too deeply");
}

#[test]
fn a_config_is_what_the_manifest_says() {
    if !needs(HERE) {
        return;
    }
    let config = config_of(&[small()]);
    let target = format!("/v2/hub/x/blobs/{}", digest(config.as_bytes()));
    let serve = |alter: fn(&[u8]) -> Vec<u8>| altered(Shelf::of(&[small()]), target.clone(), alter);
    let size = format!("\"size\":{}", config.len());
    for wrong in [config.len() - 1, config.len() + 1, 0] {
        let shelf = edited(|text| text.replace(&size, &format!("\"size\":{wrong}")));
        refused(&shelf.serve(), "bytes it should");
    }
    let shelf = edited(|text| text.replace(&size, "\"size\":1099511627776"));
    refused(&shelf.serve(), "config has more than");
    refused(&serve(|bytes| with_length("", bytes.len() + 9, bytes)), "bytes");
    refused(
        &serve(|bytes| with_length("", bytes.len() + 9, &[bytes, b"123456789"].concat())),
        "bytes it should",
    );
    refused(&serve(|bytes| with_length("", bytes.len() - 9, bytes)), "bytes it should");
    refused(&serve(|bytes| with_length("", bytes.len(), &bytes.to_ascii_uppercase())), "should be");
    refused(&serve(|_| super::harness::status(404)), "is not in");
    let shelf = edited(|text| text.replace(CONFIG, "application/vnd.oci.empty.v1+json"));
    refused(&shelf.serve(), "its config is of the type \"application/vnd.oci.empty.v1+json\"");
    // The config and the manifest must be of the same image.
    let twice = edited(|text| {
        let layer = &text[text.find("[{").unwrap() + 1..text.rfind(']').unwrap()];
        text.replace(layer, &format!("{layer},{layer}"))
    });
    refused(&twice.serve(), "the config names 1 layers and the manifest 2");
    let none = edited(|text| format!("{}[]}}", &text[..text.find("[{").unwrap()]));
    refused(&none.serve(), "the config names 1 layers and the manifest 0");
}

#[test]
fn a_layer_is_what_the_manifest_and_the_config_say() {
    if !needs(HERE) {
        return;
    }
    let layer = packed("gzip", &small());
    let target = format!("/v2/hub/x/blobs/{}", digest(&layer));
    let serve = |alter: fn(&[u8]) -> Vec<u8>| altered(Shelf::of(&[small()]), target.clone(), alter);
    let size = format!("\"size\":{}", layer.len());
    for wrong in [layer.len() - 1, layer.len() + 1] {
        let shelf = edited(|text| text.replace(&size, &format!("\"size\":{wrong}")));
        refused(&shelf.serve(), &format!("has {} bytes and not {wrong}", layer.len()));
    }
    refused(&serve(|bytes| with_length("", bytes.len() + 1, bytes)), "bytes and not");
    refused(&serve(|bytes| with_length("", bytes.len() - 1, bytes)), "bytes and not");
    // Without a length the digest must do.
    let shelf = edited(|text| text.replace(&size, &format!("\"size\":{}", layer.len() - 1)));
    let web = altered(shelf, target.clone(), |bytes| [b"HTTP/1.1 200 OK\r\n\r\n", bytes].concat());
    refused(&web, "should be sha256:");
    // One bit: in the middle, in gzip's own sum, and where gzip would not mind (the file's time).
    refused(&serve(|bytes| flipped(bytes, bytes.len() / 2)), "the blob should be sha256:");
    refused(&serve(|bytes| flipped(bytes, bytes.len() - 5)), "the blob should be sha256:");
    refused(&serve(|bytes| flipped(bytes, 4)), "the blob should be sha256:");
    refused(&serve(|bytes| with_length("", bytes.len(), &vec![0; bytes.len()])), "should be");
    refused(&serve(|_| super::harness::status(404)), "is not in");
    for unknown in ["+gzip+encrypted", "+rar", "x"] {
        let shelf = edited(|text| text.replace(".tar+gzip", &format!(".tar{unknown}")));
        refused(&shelf.serve(), &format!("a layer is of the type \"{LAYER}{unknown}\""));
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_owned();
    bytes[at] ^= 1;
    with_length("", bytes.len(), &bytes)
}

/// A shelf of one image with this blob as its layer, and a config for another.
fn mixed(blob: &[u8], config: &str) -> Shelf {
    let mut shelf = Shelf::default();
    let layer = shelf.blob(&format!("{LAYER}+gzip"), blob);
    let config = shelf.blob(CONFIG, config.as_bytes());
    shelf.manifest("latest", MANIFEST, &manifest_of(MANIFEST, &config, &[layer]));
    shelf
}

#[test]
fn a_blob_with_the_right_digest_may_still_be_wrong() {
    if !needs(HERE) {
        return;
    }
    let packed = packed("gzip", &small());
    refused(&mixed(&packed, &config_of(&[tar_of(&[])])).serve(), "the config says sha256:");
    refused(&mixed(&packed[..packed.len() - 9], &config_of(&[small()])).serve(), "gzip");
    refused(&mixed(b"no tar at all", &config_of(&[small()])).serve(), "layer 1 of 1");
    let other = config_of(&[small()]).replace("\"linux\"", "\"plan9\"");
    let (web, lath) = (mixed(&packed, &other).serve(), Lath::new());
    let error = lath.fails(&["pull", "--platform", "linux/amd64", &name(&web)]);
    assert!(error.contains("the image is for plan9/"), "{error}");
    has_nothing(&lath);
    for config in ["{}", "[]", "{\"rootfs\":{\"diff_ids\":[\"sha256:0\"]}}"] {
        refused(&mixed(&packed, config).serve(), "config");
    }
}

#[test]
fn what_is_not_there_is_told_as_that() {
    if !needs(HERE) {
        return;
    }
    let web = Shelf::default().serve();
    let error = refused(&web, "is not in 127.0.0.1:");
    assert!(error.contains("hint: are its name and tag right?"), "{error}");
    // One request to see how the registry is spoken to, one for the manifest.
    assert_eq!(web.take().len(), 2);
}
