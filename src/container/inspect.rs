//! What `inspect` shows of a container: docker's fields under docker's names, those that lath has
//! something to say about.

use std::path::PathBuf;

use super::{Container, Source};
use crate::error::Result;
use crate::image::json::Value;
use crate::image::time::rfc3339;
use crate::session::Session;
use crate::store::volumes::{DATA, VOLUMES};

/// A container as `docker inspect` shows it.
pub fn inspect(session: &Session, container: &Container) -> Result<Value> {
    let record = &container.record;
    let (is_running, state) = container.state()?;
    let text = |text: &str| Some(Value::string(text));
    let words = |words: &[String]| Some(Value::strings(words));
    let flag = |flag: bool| Some(Value::Bool(flag));
    let time = |(seconds, nanoseconds): (i64, u32)| match seconds {
        0 => "0001-01-01T00:00:00Z".to_owned(),
        seconds => rfc3339(seconds, nanoseconds),
    };
    let mut status = Value::default();
    status.set("Status", text(self::status(container)?));
    status.set("Running", flag(is_running));
    status.set("Restarting", flag(!is_running && container.is_kept()?));
    status.set("OOMKilled", flag(state.was_short_of_memory));
    status.set("Pid", Some(Value::number(if is_running { state.pid } else { 0 })));
    status.set("ExitCode", Some(Value::number(if is_running { 0 } else { code(&state) })));
    status.set("Error", text(&state.error));
    status.set("StartedAt", text(&time(state.started)));
    status.set("FinishedAt", text(&time(state.finished)));
    if !state.health.status.is_empty() {
        let mut health = Value::default();
        health.set("Status", text(&state.health.status));
        health.set("FailingStreak", Some(Value::number(state.health.failing)));
        let log = state.health.last.iter().map(|last| {
            let mut check = Value::default();
            check.set("Start", text(&time(last.start)));
            check.set("End", text(&time(last.end)));
            check.set("ExitCode", Some(Value::number(last.code)));
            check.set("Output", text(&last.output));
            check
        });
        health.set("Log", Some(Value::Array(log.collect())));
        status.set("Health", Some(health));
    }
    let (program, arguments) =
        record.argv.split_first().map_or(("", &[][..]), |(one, rest)| (one.as_str(), rest));
    let mut config = Value::default();
    config.set("Hostname", text(&record.hostname));
    config.set("User", text(&record.user));
    config.set("Tty", flag(record.flags.tty));
    config.set("OpenStdin", flag(record.flags.interactive));
    config.set("Env", words(&record.env));
    config.set("Cmd", words(&record.argv));
    config.set("Image", text(&record.image_name));
    config.set("WorkingDir", text(&record.cwd));
    config.set("Labels", Some(Value::labels(&record.labels)));
    config.set("Healthcheck", record.health.as_ref().map(|check| check.to_json()));
    let mut policy = Value::default();
    let restart = record.restart.to_text();
    let (name, times) = restart.split_once(':').unwrap_or((&restart, "0"));
    policy.set("Name", text(name));
    policy.set("MaximumRetryCount", Some(Value::number(times.parse::<u32>().unwrap_or(0))));
    let mut host = Value::default();
    #[cfg(feature = "bridge")]
    let mode = super::network::mode(record);
    #[cfg(not(feature = "bridge"))]
    let mode = if record.flags.no_network { "none" } else { "host" };
    host.set("NetworkMode", text(mode));
    host.set("RestartPolicy", Some(policy));
    host.set("AutoRemove", flag(record.flags.remove));
    let number = |number: Option<u64>| Some(Value::number(number.unwrap_or(0)));
    host.set("Memory", number(record.bounds.memory));
    host.set(
        "NanoCpus",
        number(record.bounds.milli_cpus.map(|cpus| cpus.saturating_mul(1_000_000))),
    );
    host.set("PidsLimit", number(record.bounds.pids));
    host.set("CapAdd", words(&record.cap_add));
    host.set("CapDrop", words(&record.cap_drop));
    if !record.sysctls.is_empty() {
        let mut sysctls = Value::default();
        for (name, value) in &record.sysctls {
            sysctls.set(name, text(value));
        }
        host.set("Sysctls", Some(sysctls));
    }
    host.set("Privileged", flag(record.flags.privileged));
    host.set("ReadonlyRootfs", flag(record.flags.read_only));
    let mounts = record.volumes.iter().map(|volume| {
        let mut mount = Value::default();
        let source = match &volume.source {
            Source::Host(path) | Source::Present(path) | Source::Device(path) => {
                mount.set("Type", text("bind"));
                path.to_string_lossy().into_owned()
            }
            Source::Named(name) | Source::Nameless(name) => {
                mount.set("Type", text("volume"));
                mount.set("Name", text(name));
                mount.set("Driver", text("local"));
                path_of(session, name).to_string_lossy().into_owned()
            }
            Source::Memory(_) => {
                mount.set("Type", text("tmpfs"));
                String::new()
            }
        };
        mount.set("Source", text(&source));
        mount.set("Destination", text(&volume.target));
        mount.set("RW", flag(!volume.readonly));
        mount
    });
    let mut out = Value::default();
    out.set("Id", text(&record.id));
    out.set("Created", text(&time(record.created)));
    out.set("Path", text(program));
    out.set("Args", words(arguments));
    out.set("State", Some(status));
    out.set("Image", text(&record.image.to_string()));
    out.set("Name", text(&format!("/{}", record.name)));
    out.set("RestartCount", Some(Value::number(state.restarts)));
    out.set("HostConfig", Some(host));
    out.set("Mounts", Some(Value::Array(mounts.collect())));
    out.set("Config", Some(config));
    #[cfg(feature = "bridge")]
    out.set("NetworkSettings", Some(network_settings(session, container, is_running, &state)?));
    Ok(out)
}

/// Its addresses and ports.
#[cfg(feature = "bridge")]
fn network_settings(
    session: &Session,
    container: &Container,
    is_running: bool,
    state: &super::State,
) -> Result<Value> {
    use super::network;
    let text = |text: &str| Some(Value::string(text));
    let mut ports = Value::default();
    for port in state.ports.iter().filter(|_| is_running) {
        let key = format!("{}/{}", port.inside, port.protocol.name());
        let hosts = match port.address {
            Some(address) => vec![address.to_string()],
            None => vec!["0.0.0.0".to_owned(), "::".to_owned()],
        };
        let hosts = hosts.iter().map(|host| {
            let mut value = Value::default();
            value.set("HostIp", text(host));
            value.set("HostPort", text(&port.host.to_string()));
            value
        });
        let mut all: Vec<Value> =
            ports.get(&key).and_then(Value::as_array).unwrap_or_default().to_vec();
        all.extend(hosts);
        ports.set(&key, Some(Value::Array(all)));
    }
    let mode = network::mode(&container.record);
    let mut own = Value::default();
    let mut ip = String::new();
    if let Some(address) = network::address(container).filter(|_| is_running)
        && let Some((_, bits, gateway)) = network::addresses(&network::find(session, mode)?)
    {
        ip = address.to_string();
        let [a, b, c, d] = address.octets();
        own.set("IPAddress", text(&ip));
        own.set("IPPrefixLen", Some(Value::number(bits)));
        own.set("Gateway", text(&gateway.to_string()));
        own.set("MacAddress", text(&format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")));
        own.set("Aliases", Some(Value::strings(&container.record.aliases)));
    }
    let mut networks = Value::default();
    networks.set(mode, Some(own));
    let mut out = Value::default();
    out.set("IPAddress", text(&ip));
    out.set("Ports", Some(ports));
    out.set("Networks", Some(networks));
    Ok(out)
}

fn path_of(session: &Session, volume: &str) -> PathBuf {
    session.store.path().join(VOLUMES).join(volume).join(DATA)
}

/// docker's word for how it is doing.
pub fn status(container: &Container) -> Result<&'static str> {
    let (is_running, state) = container.state()?;
    Ok(match (is_running, container.is_kept()?) {
        (true, _) => "running",
        (false, true) if state.restarts > 0 || state.finished.0 > 0 => "restarting",
        _ if state.started.0 == 0 || !state.error.is_empty() && state.pid == 0 => "created",
        _ => "exited",
    })
}

/// The exit code of one that does not run. A keeper that was killed, or a power cut, wrote none.
pub fn code(state: &super::State) -> i32 {
    if state.pid > 0 { 255 } else { state.code }
}
