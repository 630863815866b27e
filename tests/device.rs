//! Dockerfiles in the manner of people who build for devices: add-ons, device templates, services,
//! root file systems, builds in stages. Each lies in `tests/device/` with its context, is built on a
//! real Alpine, and what comes of it is looked at from inside and from outside.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{ApkServer, Lath, Need, bases, busybox_tar, host, needs};
use std::fs;
use std::path::Path;

/// A Dockerfile, and what is true of its image.
struct Case {
    /// Its folder in `tests/device`, and the name of the image.
    name: &'static str,
    /// More words for the build.
    words: &'static [&'static str],
    /// What is run in the image: options, `@`, and a command.
    run: &'static [&'static str],
    /// What that says.
    says: &'static str,
    /// Fields of the config; what is empty is `null`.
    config: &'static [(&'static str, &'static str)],
}

const SH: &[&str] = &["--entrypoint", "/bin/sh", "@", "-c"];

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case {
        name: "addon-bridge",
        words: &["--build-arg", "BUILD_ARCH=amd64", "--build-arg", "BUILD_NAME=The bridge", "--build-arg", "BUILD_VERSION=1.2.3",
                 "--build-arg", "BUILD_DESCRIPTION=It's a \"bridge\""],
        run: &["@", "sh", "-c", "cat /etc/bridge.name; jq --version; stat -c %a /etc/services.d/bridge/*; ls /config.yaml 2>&1; echo $LANG"],
        says: "mqtt\njq-1.6\n755\n755\nls: /config.yaml: No such file or directory\nC.UTF-8\n",
        config: &[("Labels", r#"{"io.hass.arch":"amd64","io.hass.description":"It's a \"bridge\"","io.hass.name":"The bridge","io.hass.type":"addon","io.hass.version":"1.2.3","maintainer":"A. Nobody <nobody@example.invalid>","org.opencontainers.image.created":null,"org.opencontainers.image.revision":null,"org.opencontainers.image.source":"https://example.invalid/"}"#),
                  ("Shell", r#"["/bin/ash","-o","pipefail","-c"]"#)],
    },
    Case {
        name: "addon-redis",
        words: &["--build-arg", "BUILD_FROM=ghcr.io/home-assistant/amd64-base:3.23", "--build-arg", "BUILD_ARCH=armv7",
                 "--build-arg", "TEMPIO_VERSION=2021.09.0"],
        run: &["@", "sh", "-c", "pwd; cat /usr/lib/machine; cd /etc/s6-overlay/s6-rc.d; find . -type f | sort; stat -c %A redis/run redis/type; redis-server --version | cut -c 1-19; stat -c %U /var/lib/redis"],
        says: "/data\narm\ntempio 2021.09.0\n./redis/dependencies.d/base\n./redis/run\n./redis/type\n./user/contents.d/redis\n-rwxr-xr-x\n-rw-r--r--\nRedis server v=7.0.\nredis\n",
        config: &[("Healthcheck", r#"{"Interval":30000000000,"Retries":5,"StartPeriod":10000000000,"Test":["CMD-SHELL","redis-cli ping || exit 1"],"Timeout":3000000000}"#)],
    },
    Case {
        name: "addon-proxy",
        words: &[],
        run: &["@", "/bin/sh", "-c", "cat /etc/proxy/proxy.conf; readlink /var/log/proxy/access.log; stat -c '%U:%G %a' /init /var/lib/proxy; id -g proxy > /dev/null && echo $PORT"],
        says: "listen ${PORT};\nuser proxy;\n/dev/stdout\nproxy:proxy 755\nproxy:proxy 755\n8099\n",
        config: &[("ExposedPorts", r#"{"8099/tcp":{}}"#), ("Entrypoint", r#"["/init"]"#), ("Cmd", "null")],
    },
    Case {
        name: "addon-compiled",
        words: &["--build-arg", "LEVEL=9"],
        run: &["@", "sh", "-c", "probe; stat -c %a /run.sh; ls /usr/src 2>/dev/null | wc -l; which gcc || echo none"],
        says: "level 9\n755\n0\nnone\n",
        config: &[("Cmd", r#"["/run.sh"]"#)],
    },
    Case {
        name: "balena-base",
        words: &["-t", "balenalib/generic-amd64-alpine:3.23-run", "-t", "balenalib/generic-amd64-alpine:3.23-build"],
        run: &["@"],
        says: "'No CMD command was set in Dockerfile! Details about CMD command could be found in Dockerfile Guide'\n",
        config: &[("OnBuild", r#"["RUN echo \"on $(cat /etc/alpine-release)\" > /.balena/built"]"#)],
    },
    Case {
        name: "balena-sensor",
        words: &[],
        run: &["@"],
        says: "generic-amd64 amd64 bme280 tsl2561\n",
        config: &[("WorkingDir", r#""/usr/src/app""#), ("Cmd", r#"["sh","-c","./start.sh"]"#), ("Entrypoint", r#"["/usr/bin/entry.sh"]"#), ("OnBuild", "null")],
    },
    Case {
        name: "balena-display",
        words: &[],
        run: &["@"],
        says: "drawn\n",
        config: &[("StopSignal", r#""37""#), ("Volumes", r#"{"/sys/fs/cgroup":{}}"#)],
    },
    Case {
        name: "service-redis",
        words: &[],
        run: &["@", "sh", "-c", "id kv; stat -c %U:%G /store; redis-server --version | cut -c 1-19; which jq || echo no jq; docker-entrypoint.sh echo started"],
        says: "uid=999(kv) gid=1000(kv) groups=1000(kv),1000(kv)\nkv:kv\nRedis server v=7.0.\nno jq\nstarted\n",
        config: &[("Volumes", r#"{"/store":{}}"#), ("WorkingDir", r#""/store""#), ("ExposedPorts", r#"{"6379/tcp":{}}"#), ("Cmd", r#"["redis-server"]"#)],
    },
    Case {
        name: "service-web",
        words: &[],
        run: &["@", "sh", "-c", "cat /etc/web.packages | grep .; readlink /var/log/web/error.log; ls /docker-entrypoint.d"],
        says: "web=1.27.3-r1\nweb-module-image-filter=1.27.3-r1\n/dev/stderr\n10-listen.sh\n20-envsubst.sh\n",
        config: &[("StopSignal", r#""SIGQUIT""#), ("ExposedPorts", r#"{"443/tcp":{},"443/udp":{},"80/tcp":{}}"#), ("Cmd", r#"["web","-g","daemon off;"]"#)],
    },
    Case {
        name: "service-broker",
        words: &[],
        run: &["@", "sh", "-c", "broker; stat -c '%u:%g' /broker /broker/data; ls -d /build 2>&1; which gcc || echo none; stat -c %a /broker-no-auth.conf"],
        says: "broker 2.0.20\n1883:1883\n1883:1883\nls: /build: No such file or directory\nnone\n755\n",
        config: &[("Volumes", r#"{"/broker/data":{},"/broker/log":{}}"#), ("Cmd", r#"["/usr/sbin/broker","-c","/broker/config/broker.conf"]"#)],
    },
    Case {
        name: "service-exporter",
        words: &[],
        run: &["@"],
        says: "65534 --path.rootfs=/host --web.listen-address=:9100\n",
        config: &[("User", r#""nobody""#), ("ExposedPorts", r#"{"9100/tcp":{}}"#), ("Entrypoint", r#"["/bin/exporter"]"#)],
    },
    Case {
        name: "service-collector",
        words: &["--build-arg", "ALPINE_MIRROR=unused"],
        run: &["@", "sh", "-c", "cat /etc/collector/levels; tail -n 1 /etc/nsswitch.conf"],
        says: "warn=1.33.0\ninfo=1.33.0\ndebug=1.33.0\nhosts: files dns\n",
        config: &[("Healthcheck", r#"{"Interval":5000000000,"Test":["CMD","/bin/true"]}"#), ("ExposedPorts", r#"{"8092/udp":{},"8094/tcp":{},"8125/udp":{}}"#)],
    },
    Case {
        name: "stages-cross",
        words: &["--build-arg", "VERSION=4.5"],
        run: &["@"],
        says: "agent 4.5 65532\n",
        config: &[("User", r#""65532:65532""#), ("Entrypoint", r#"["/agent"]"#), ("Cmd", "null")],
    },
    Case {
        name: "stages-chef",
        words: &[],
        run: &["@"],
        says: "anyhow\nserde\nmain\n",
        config: &[("WorkingDir", r#""/app""#)],
    },
    Case {
        name: "stages-gateway",
        words: &["--build-arg", "COMMIT=abc", "--build-arg", "VERSION=1.0"],
        run: &["@", "sh", "-c", "cat node_modules/list dist.hash; find . -type f | sort; echo $NODE_ENV"],
        says: "mqtt@5.0.1\nws@8.0.0\nabc\n./dist.hash\n./index.js\n./lib/controller.js\n./node_modules/list\n./package.json\nproduction\n",
        config: &[("Labels", r#"{"org.opencontainers.image.created":null,"org.opencontainers.image.licenses":"GPL-3.0","org.opencontainers.image.revision":"abc","org.opencontainers.image.title":"Gateway","org.opencontainers.image.version":"1.0"}"#)],
    },
    Case {
        name: "stages-node",
        words: &["--build-arg", "NODE_ENV=development"],
        run: &["@", "sh", "-c", "node-start; cat whoami; stat -c '%U:%G %a' .cache bin/node-start app.json"],
        says: "development node /home/node\nnode\nnode:node 2750\nnode:node 755\nnode:node 644\n",
        config: &[("User", r#""node""#), ("Cmd", r#"["/bin/sh","-c","node-start"]"#)],
    },
    Case {
        name: "stages-onbuild-base",
        words: &["-t", "runtime-onbuild:1"],
        run: &["@", "ls"],
        says: "",
        config: &[("OnBuild", r#"["COPY . /usr/src/app/","ARG STAGE=production","RUN ls > built && echo \"$STAGE\" >> built"]"#)],
    },
    Case {
        name: "stages-onbuild",
        words: &["--build-arg", "STAGE=test"],
        run: &["@"],
        says: "Dockerfile\nbuilt\nmain\ntest\n",
        config: &[("WorkingDir", r#""/usr/src/app""#), ("OnBuild", "null")],
    },
    Case {
        name: "stages-secret",
        words: &["--secret", "id=token,src=stages-secret/token"],
        run: &["@", "sh", "-c", "cat /etc/token.length; stat -c %a /etc/device.key; ls /scratch /run/secrets 2>/dev/null | wc -l"],
        says: "13\n600\n0\n",
        config: &[],
    },
    Case {
        name: "root-tar",
        words: &[],
        run: &["@", "sh", "-c", "cat /etc/overlay; stat -c %u:%g /etc/overlay; busybox | head -n 1 | cut -c 1-7; echo $container"],
        says: "over\n10:20\nBusyBox\noci\n",
        config: &[("Cmd", r#"["/bin/sh"]"#)],
    },
    Case {
        name: "root-k3s",
        words: &[],
        run: &["--entrypoint", "/bin/busybox", "@", "sh", "-c", "cat /etc/passwd; ls -d /lib/modules /var/run /image 2>&1; echo $PATH; test -s /etc/ssl/certs/ca-certificates.crt && echo certificates"],
        says: "root:x:0:0:root:/:/bin/sh\nls: /image: No such file or directory\n/lib/modules\n/var/run\n/var/lib/rancher/data/cni:/bin/aux:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/bin/aux\ncertificates\n",
        config: &[("Volumes", r#"{"/var/lib/cni":{},"/var/lib/kubelet":{},"/var/log":{}}"#), ("Entrypoint", r#"["/bin/node"]"#)],
    },
    Case {
        name: "root-kiosk",
        words: &[],
        run: &[SH[0], SH[1], SH[2], SH[3], "readlink /etc/runlevels/default/kiosk; ls /etc/init.d; stat -c %a /bin/busybox; ls -d /media/data"],
        says: "/etc/init.d/kiosk\nkiosk\n4755\n/media/data\n",
        config: &[("Entrypoint", r#"["/bin/sh","-c","/bin/sh -c 'exec \"$0\" \"$@\"'"]"#), ("StopSignal", r#""SIGRTMIN+3""#)],
    },
];

/// What the contexts have that no text can be: tars, and the template's Dockerfile after the words in
/// it were replaced.
fn fill(lath: &Lath, folder: &Path) {
    let template = folder.join("Dockerfile.template");
    if template.exists() {
        let text = fs::read_to_string(&template).unwrap();
        let text = text.replace("%%BALENA_MACHINE_NAME%%", "generic-amd64");
        fs::write(folder.join("Dockerfile"), text.replace("%%BALENA_ARCH%%", "amd64")).unwrap();
    }
    match folder.file_name().unwrap().to_str().unwrap() {
        "root-tar" => {
            fs::write(folder.join("rootfs.tar"), busybox_tar()).unwrap();
            host("gzip", &["-n", folder.join("rootfs.tar").to_str().unwrap()]);
            lath.write("overlay", "over\n");
            let tar = folder.join("overlay.tar");
            host("tar", &["-cf", tar.to_str().unwrap(), "-C", &lath.text(""), "overlay"]);
        }
        "root-k3s" => {
            let tar = folder.join("build/out/data.tar");
            fs::create_dir_all(tar.parent().unwrap()).unwrap();
            fs::write(&tar, busybox_tar()).unwrap();
            host("gzip", &["-n", tar.to_str().unwrap()]);
        }
        "stages-secret" => fs::write(folder.join("token"), "abcdefghijkl\n").unwrap(),
        _ => {}
    }
}

#[test]
fn dockerfiles_of_devices_become_what_they_say() {
    if !needs(&[
        Need::Root,
        Need::Busybox,
        Need::Bases,
        Need::Program("python3"),
        Need::Program("gzip"),
    ]) {
        return;
    }
    let lath = Lath::new();
    lath.ok(&["load", "-q", "-i", bases().join("alpine-amd64.oci.tar").to_str().unwrap()]);
    lath.ok(&["tag", "alpine:3.23", "ghcr.io/home-assistant/amd64-base:3.23"]);
    lath.give(&["import", "-", "quay.io/prometheus/busybox-linux-amd64:latest"], &busybox_tar())
        .success();
    let _packages = ApkServer::start();
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/device");
    host("cp", &["-a", &format!("{all}/."), &lath.text("")]);
    let mut wrong = Vec::new();
    for case in CASES {
        let Case { name, words, run, says, config } = case;
        fill(&lath, &lath.path(name));
        let built = lath.run(&[&["build", "-t", *name], *words, &[*name]].concat());
        if built.code != 0 {
            wrong.push(format!("{name}: {built}"));
            continue;
        }
        let run: Vec<&str> =
            run.iter().map(|word| if *word == "@" { name } else { word }).copied().collect();
        let said = lath.run(&[&["run", "--rm"], run.as_slice()].concat());
        if said.code != 0 || said.stdout != *says {
            wrong.push(format!("{name}: {said}-- wanted\n{says}"));
        }
        for (field, expected) in *config {
            let found = lath.config(name, field);
            if found != *expected {
                wrong.push(format!("{name}: {field}: {found}\n-- wanted {expected}"));
            }
        }
        // Once more: nothing is done that was done.
        let again = lath.run(&[&["build", "-t", *name], *words, &[*name]].concat());
        if again.code != 0 || again.stdout.contains("Running in") || again.built() != built.built()
        {
            wrong.push(format!("{name}: {again}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_folder_is_a_case() {
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/device");
    let found =
        fs::read_dir(all).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = found.collect();
    let mut known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    found.sort();
    known.sort_unstable();
    assert_eq!(found, known);
}
