//! Images that are as they should be, in all the forms there are.

use super::harness::{
    Listing, Member, Need, Shelf, architecture, busybox_tar, config_of, manifest_of, needs, ok,
    packed, tar_of,
};
use super::{CONFIG, HERE, INDEX, LATEST, LAYER, MANIFEST};
use super::{digest, edited, id, is_empty, manifest, name, pulled, small};

/// An image of one layer under these media types.
fn image(types: [&str; 3], tar: &[u8], packed: &[u8]) -> (Shelf, String) {
    let [manifest_type, config_type, layer_type] = types;
    let mut shelf = Shelf::default();
    let text = config_of(&[tar.to_owned()]);
    let config = shelf.blob(config_type, text.as_bytes());
    let layer = shelf.blob(layer_type, packed);
    shelf.manifest("latest", manifest_type, &manifest_of(manifest_type, &config, &[layer]));
    (shelf, digest(text.as_bytes()))
}

#[test]
fn layers_come_in_every_packing() {
    if !needs(HERE) || !needs(&[Need::Program("zstd")]) {
        return;
    }
    let has_zstd = super::Lath::new().ok(&["version"]).contains("zstd");
    let (tar, empty) = (small(), vec![0; 1024]);
    let gzip = packed("gzip", &tar);
    let docker = "application/vnd.docker";
    let docker_types = [
        &format!("{docker}.distribution.manifest.v2+json"),
        &format!("{docker}.container.image.v1+json"),
    ];
    let foreign = format!("{docker}.image.rootfs.foreign.diff.tar.gzip");
    let gzipped = format!("{LAYER}+gzip");
    let [docker_manifest, docker_config] = docker_types.map(String::as_str);
    let kept = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let diff = format!("{docker}.image.rootfs.diff.tar.gzip");
    let mut images = vec![
        image([MANIFEST, CONFIG, LAYER], &tar, &tar),
        image([MANIFEST, CONFIG, &gzipped], &tar, &gzip),
        image([MANIFEST, CONFIG, LAYER], &empty, &empty),
        image([MANIFEST, CONFIG, &gzipped], &empty, &packed("gzip", &empty)),
        image([MANIFEST, CONFIG, kept], &tar, &gzip),
        image([docker_manifest, docker_config, &diff], &tar, &gzip),
        image([docker_manifest, docker_config, &foreign], &tar, &gzip),
    ];
    if has_zstd {
        let zstd = format!("{LAYER}+zstd");
        images.push(image([MANIFEST, CONFIG, &zstd], &tar, &packed("zstd", &tar)));
    }
    for (shelf, id) in images {
        let web = shelf.serve();
        let lath = pulled(&web, &id);
        // A pull that goes well does not write down what it reads.
        assert!(!lath.store().join("partial").exists());
        // Each is asked for once: how it is spoken to, the manifest, the config, the layer.
        assert_eq!(web.take().len(), 4);
    }
}

#[test]
fn a_pulled_image_runs_and_its_layers_lie_on_each_other() {
    if !needs(HERE) || !needs(&[Need::Busybox]) {
        return;
    }
    let second = tar_of(&[
        Member::File("f", "second\n"),
        Member::Hard("root/g", "f"),
        Member::File("etc/.wh.group", ""),
    ]);
    let third = tar_of(&[Member::Hard("h", "etc/passwd"), Member::File("f", "third\n")]);
    let shelf = Shelf::of(&[busybox_tar(), second, third]);
    let wanted = id(&shelf);
    let web = shelf.serve();
    let lath = pulled(&web, &wanted);
    let seen = lath.shell(&name(&web), "cat f root/g; test -e etc/group || head -c 4 h");
    assert_eq!(seen, "third\nsecond\nroot");
    // Nothing is fetched or written again.
    web.take();
    let before = Listing::of(&lath.store().join("layers"));
    let said = lath.ok(&["pull", &name(&web)]);
    assert!(said.contains("Status: Image is up to date for 127.0.0.1:"), "{said}");
    assert!(web.take().iter().all(|asked| !asked.target().contains("/blobs/")));
    before.assert_same(&Listing::of(&lath.store().join("layers")));
}

#[test]
fn a_layer_that_is_there_is_not_fetched_again() {
    if !needs(HERE) {
        return;
    }
    let other = tar_of(&[Member::File("g", "more\n")]);
    let web = Shelf::of(&[small()]).serve();
    let lath = pulled(&web, &id(&Shelf::of(&[small()])));
    let more = Shelf::of(&[small(), other]).serve();
    lath.ok(&["pull", &name(&more)]);
    let blobs = more.take();
    let blobs = blobs.iter().filter(|asked| asked.target().contains("/blobs/"));
    assert_eq!(blobs.count(), 2, "the config and the upper layer");
}

#[test]
fn an_index_is_followed_to_the_image() {
    if !needs(HERE) {
        return;
    }
    let mut shelf = Shelf::of(&[small()]);
    let wanted = id(&shelf);
    let text = manifest(&shelf);
    let entry = shelf.manifest("good", MANIFEST, &text);
    let with = |entry: &str, more: &str| format!("{},{more}}}", entry.strip_suffix('}').unwrap());
    let host = format!("\"platform\":{{\"os\":\"linux\",\"architecture\":\"{}\"}}", architecture());
    let attestation = with(
        &with(&shelf.manifest("bad", MANIFEST, "{}"), &host),
        "\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}",
    );
    let strange = with(&shelf.manifest("odd", "application/vnd.odd+json", "{}"), &host);
    let index = |entries: &[&str]| {
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{}]}}",
            entries.join(",")
        )
    };
    // What is no image is passed over, though it says that it is for this machine.
    let inner = index(&[&attestation, &strange, &with(&entry, &host)]);
    let inner = shelf.manifest("latest", INDEX, &inner);
    let outer = digest(shelf.bytes(LATEST).unwrap());
    let lath = pulled(&shelf.clone().serve(), &wanted);
    // All that was read on the way is kept, to be proved and pushed again.
    let manifests = lath.store().join("manifests");
    for kept in [outer, digest(text.as_bytes())] {
        assert!(manifests.join(kept.strip_prefix("sha256:").unwrap()).exists());
    }
    // An index in an index, with a platform and without one.
    for inner in [with(&inner, &host), inner] {
        shelf.manifest("latest", INDEX, &index(&[&inner]));
        pulled(&shelf.clone().serve(), &wanted);
    }
}

#[test]
fn the_newest_variant_that_runs_there_is_taken() {
    if !needs(HERE) {
        return;
    }
    let mut shelf = Shelf::default();
    let layer = shelf.blob(LAYER, &small());
    let own = format!("\"architecture\":\"{}\"", architecture());
    let mut ids = Vec::new();
    // The worst one first and last: their order says nothing.
    let entries: Vec<String> = ["v7", "v5", "v6"]
        .map(|variant| {
            let arm = format!("\"architecture\":\"arm\",\"variant\":\"{variant}\"");
            let text = config_of(&[small()]).replace(&own, &arm);
            assert!(text.contains(variant), "{text}");
            ids.push((variant, digest(text.as_bytes())));
            let config = shelf.blob(CONFIG, text.as_bytes());
            let text = manifest_of(MANIFEST, &config, std::slice::from_ref(&layer));
            let entry = shelf.manifest(variant, MANIFEST, &text);
            let platform = format!("\"platform\":{{\"os\":\"linux\",{arm}}}}}");
            format!("{},{platform}", entry.strip_suffix('}').unwrap())
        })
        .into();
    let entries = entries.join(",");
    let index =
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{entries}]}}");
    shelf.manifest("latest", INDEX, &index);
    let web = shelf.serve();
    for (variant, id) in &ids {
        let lath = super::Lath::new();
        lath.ok(&["pull", "--platform", &format!("linux/arm/{variant}"), &name(&web)]);
        assert_eq!(lath.id(&name(&web)), *id, "{variant}");
    }
    let error = super::Lath::new().fails(&["pull", "--platform", "linux/arm64", &name(&web)]);
    assert!(error.contains("no match"), "{error}");
}

#[test]
fn a_vague_content_type_is_no_lie() {
    if !needs(HERE) {
        return;
    }
    for said in ["application/json", "text/plain; charset=utf-8", "", "; x"] {
        let shelf = edited(str::to_owned);
        let (wanted, text) = (id(&shelf), manifest(&shelf));
        let web = shelf.serve_but(move |_, asked| {
            let headers = format!("Content-Type: {said}\r\n");
            (asked.target() == LATEST).then(|| ok(&headers, &text))
        });
        pulled(&web, &wanted);
    }
    let parameters = format!("Content-Type: {MANIFEST}; charset=utf-8\r\n");
    let shelf = edited(|text| text.replace(&format!("\"mediaType\":\"{MANIFEST}\","), ""));
    let (wanted, text) = (id(&shelf), manifest(&shelf));
    let web =
        shelf.serve_but(move |_, asked| (asked.target() == LATEST).then(|| ok(&parameters, &text)));
    let lath = pulled(&web, &wanted);
    assert!(is_empty(&lath, "tmp"));
}
