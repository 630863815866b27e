//! What a container is, as it lies in the store: a line a fact, `name value`, with `\` before what
//! would break a line. docs/STORE-FORMAT.md lists the names.

use crate::container::{Bounds, Restart, Volume};
#[cfg(feature = "containers")]
use crate::error::{Error, Result};
#[cfg(feature = "containers")]
use crate::image::config::Healthcheck;
#[cfg(feature = "containers")]
use crate::image::digest::Digest;
use crate::image::digest::ImageId;
#[cfg(feature = "containers")]
use crate::image::json::Value;
#[cfg(feature = "bridge")]
use crate::network::Port;

/// All that is needed to start it, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: ImageId,
    /// The word by which the image was asked for.
    pub image_name: String,
    /// The chains of its layers, lowest first, in hex.
    pub chains: Vec<String>,
    /// When it was made, seconds since 1970 and nanoseconds.
    pub created: (i64, u32),
    /// The program and its words.
    pub argv: Vec<String>,
    /// Its environment; HOME comes from the image's users if it is not here.
    pub env: Vec<String>,
    /// Where it starts.
    pub cwd: String,
    /// As whom: `user[:group]`.
    pub user: String,
    /// Its host name.
    pub hostname: String,
    /// `--label`, and the image's.
    pub labels: Vec<String>,
    /// `-v`.
    pub volumes: Vec<Volume>,
    /// `--add-host`: name and address.
    pub hosts: Vec<(String, String)>,
    /// `--group-add`.
    pub groups: Vec<String>,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--shm-size`.
    pub shm_size: Option<String>,
    /// `--ulimit`.
    pub ulimits: Vec<String>,
    /// `--cap-add`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// `--sysctl`: name and value.
    pub sysctls: Vec<(String, String)>,
    /// What holds or does not.
    pub flags: Flags,
    /// Its network, where that is not the host's or none: a name, or `container:` and an id.
    #[cfg(feature = "bridge")]
    pub network: Option<String>,
    /// `--ip`: the address that it shall have there.
    #[cfg(feature = "bridge")]
    pub address: Option<std::net::Ipv4Addr>,
    /// `--network-alias`.
    #[cfg(feature = "bridge")]
    pub aliases: Vec<String>,
    /// `-p`.
    #[cfg(feature = "bridge")]
    pub ports: Vec<Port>,
    /// `--memory` and such.
    pub bounds: Bounds,
    /// `--restart`.
    pub restart: Restart,
    /// The signal that asks it to end.
    pub stop_signal: i32,
    /// Seconds until it is killed after that.
    pub stop_timeout: u64,
    /// Its health check.
    #[cfg(feature = "containers")]
    pub health: Option<Healthcheck>,
}

/// What is said of a container by one word each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--network none`.
    pub no_network: bool,
    /// `-t`: it has a terminal.
    pub tty: bool,
    /// `-i`: its standard input stays open.
    pub interactive: bool,
    /// `--rm`: it goes when its program ends.
    pub remove: bool,
    /// `--read-only`: its root cannot be written to.
    pub read_only: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// `--security-opt seccomp=unconfined`.
    pub any_call: bool,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--init`: lath itself is its first process, and takes in those that lose their parent.
    pub init: bool,
}

impl Flags {
    /// The names, each with its flag.
    fn all(&mut self) -> [(&'static str, &mut bool); 9] {
        [
            ("no-network", &mut self.no_network),
            ("tty", &mut self.tty),
            ("interactive", &mut self.interactive),
            ("rm", &mut self.remove),
            ("read-only", &mut self.read_only),
            ("privileged", &mut self.privileged),
            ("any-call", &mut self.any_call),
            ("no-new-privileges", &mut self.no_new_privileges),
            ("init", &mut self.init),
        ]
    }
}

impl Record {
    /// Whether it has a network for itself.
    pub fn has_own_network(&self) -> bool {
        #[cfg(feature = "bridge")]
        if self.network.is_some() {
            return true;
        }
        self.flags.no_network
    }

    /// As it is written.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let mut add = |name: &str, value: &str| line(&mut out, name, value);
        add("id", &self.id);
        add("name", &self.name);
        add("image", &self.image.hex());
        add("image-name", &self.image_name);
        add("created", &time_text(self.created));
        add("cwd", &self.cwd);
        add("user", &self.user);
        add("hostname", &self.hostname);
        add("restart", &self.restart.to_text());
        add("stop-signal", &self.stop_signal.to_string());
        add("stop-timeout", &self.stop_timeout.to_string());
        if let Some(size) = &self.shm_size {
            add("shm-size", size);
        }
        for (name, bound) in bounds(&mut self.bounds.clone()) {
            if let Some(bound) = bound {
                add(name, &bound.to_string());
            }
        }
        for (name, list) in self.clone().lists() {
            for value in list {
                add(name, value);
            }
        }
        for volume in &self.volumes {
            let (name, line) = volume.to_line();
            add(name, &line);
        }
        #[cfg(feature = "containers")]
        if let Some(check) = &self.health {
            add("health", &check.to_json().to_text());
        }
        #[cfg(feature = "bridge")]
        {
            if let Some(network) = &self.network {
                add("network", network);
            }
            if let Some(address) = self.address {
                add("ip", &address.to_string());
            }
            self.aliases.iter().for_each(|alias| add("alias", alias));
            self.ports.iter().for_each(|port| add("port", &port.to_string()));
        }
        for (host, address) in &self.hosts {
            add("host", &format!("{host}:{address}"));
        }
        for (parameter, value) in &self.sysctls {
            add("sysctl", &format!("{parameter}={value}"));
        }
        for (name, flag) in self.flags.clone().all() {
            if *flag {
                add("flag", name);
            }
        }
        out
    }

    /// The names, each with its list.
    fn lists(&mut self) -> [(&'static str, &mut Vec<String>); 11] {
        [
            ("chain", &mut self.chains),
            ("arg", &mut self.argv),
            ("env", &mut self.env),
            ("label", &mut self.labels),
            ("ulimit", &mut self.ulimits),
            ("cap-add", &mut self.cap_add),
            ("cap-drop", &mut self.cap_drop),
            ("group", &mut self.groups),
            ("dns", &mut self.dns),
            ("dns-search", &mut self.dns_search),
            ("dns-option", &mut self.dns_options),
        ]
    }

    /// Reads what was written.
    #[cfg(feature = "containers")]
    pub fn parse(text: &str) -> Result<Record> {
        let mut record = Record::empty(Digest::of(b""));
        for (name, value) in lines(text) {
            if let Some((_, list)) = record.lists().into_iter().find(|(known, _)| *known == name) {
                list.push(value);
                continue;
            }
            if let Some((_, bound)) =
                bounds(&mut record.bounds).into_iter().find(|(known, _)| *known == name)
            {
                *bound = value.parse().ok();
                continue;
            }
            let number = || value.parse::<i64>().map_err(|_| bad(name, &value));
            match name {
                "id" => record.id = value,
                "name" => record.name = value,
                "image" => {
                    record.image = Digest::parse_hex(&value).ok_or_else(|| bad(name, &value))?;
                }
                "image-name" => record.image_name = value,
                "created" => record.created = parse_time(&value),
                "cwd" => record.cwd = value,
                "user" => record.user = value,
                "hostname" => record.hostname = value,
                "restart" => record.restart = Restart::parse(&value)?,
                "stop-signal" => record.stop_signal = i32::try_from(number()?).unwrap_or(15),
                "stop-timeout" => record.stop_timeout = u64::try_from(number()?).unwrap_or(10),
                "shm-size" => record.shm_size = Some(value),
                "health" => {
                    let check = Value::parse(value.as_bytes()).map_err(|_| bad(name, &value))?;
                    record.health = Healthcheck::from_json(&check);
                }
                "volume" | "mount" => {
                    let volume = Volume::parse_line(name, &value);
                    record.volumes.push(volume.ok_or_else(|| bad(name, &value))?);
                }
                "host" => {
                    let (host, address) = value.split_once(':').ok_or_else(|| bad(name, &value))?;
                    record.hosts.push((host.to_owned(), address.to_owned()));
                }
                "sysctl" => {
                    let (parameter, set) =
                        value.split_once('=').ok_or_else(|| bad(name, &value))?;
                    record.sysctls.push((parameter.to_owned(), set.to_owned()));
                }
                #[cfg(feature = "bridge")]
                "network" => record.network = Some(value),
                #[cfg(feature = "bridge")]
                "ip" => record.address = value.parse().ok(),
                #[cfg(feature = "bridge")]
                "alias" => record.aliases.push(value),
                #[cfg(feature = "bridge")]
                "port" => record.ports.push(Port::parse(&value).ok_or_else(|| bad(name, &value))?),
                "flag" => {
                    for (known, flag) in record.flags.all() {
                        *flag |= known == value;
                    }
                }
                // A later lath's.
                _ => {}
            }
        }
        match record.id.is_empty() || record.argv.is_empty() {
            true => Err(Error::corrupt("a container's record is not whole")),
            false => Ok(record),
        }
    }

    /// One that says nothing yet.
    pub fn empty(image: ImageId) -> Record {
        Record {
            id: String::new(),
            name: String::new(),
            image,
            image_name: String::new(),
            chains: Vec::new(),
            created: (0, 0),
            argv: Vec::new(),
            env: Vec::new(),
            cwd: String::new(),
            user: String::new(),
            hostname: String::new(),
            labels: Vec::new(),
            volumes: Vec::new(),
            hosts: Vec::new(),
            groups: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            sysctls: Vec::new(),
            shm_size: None,
            ulimits: Vec::new(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            flags: Flags::default(),
            #[cfg(feature = "bridge")]
            network: None,
            #[cfg(feature = "bridge")]
            address: None,
            #[cfg(feature = "bridge")]
            aliases: Vec::new(),
            #[cfg(feature = "bridge")]
            ports: Vec::new(),
            bounds: Bounds::default(),
            restart: Restart::No,
            stop_signal: libc::SIGTERM,
            stop_timeout: 10,
            #[cfg(feature = "containers")]
            health: None,
        }
    }
}

#[cfg(feature = "containers")]
fn bad(name: &str, value: &str) -> Error {
    Error::corrupt(format!("a container's record says {name} {value:?}"))
}

/// The names of the bounds, each with its value.
fn bounds(bounds: &mut Bounds) -> [(&'static str, &mut Option<u64>); 4] {
    [
        ("memory", &mut bounds.memory),
        ("memory-and-swap", &mut bounds.memory_and_swap),
        ("milli-cpus", &mut bounds.milli_cpus),
        ("pids", &mut bounds.pids),
    ]
}

/// A time as records have it.
pub fn time_text((seconds, nanoseconds): (i64, u32)) -> String {
    format!("{seconds}.{nanoseconds}")
}

/// Reads it; what is none is the beginning of time.
#[cfg(feature = "containers")]
pub fn parse_time(text: &str) -> (i64, u32) {
    let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
    (seconds.parse().unwrap_or(0), rest.parse().unwrap_or(0))
}

/// Adds a line to a record.
pub fn line(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(' ');
    for letter in value.chars() {
        match letter {
            '\n' => out.push_str("\\n"),
            '\\' => out.push_str("\\\\"),
            letter => out.push(letter),
        }
    }
    out.push('\n');
}

/// The lines of a record.
#[cfg(feature = "containers")]
pub fn lines(text: &str) -> impl Iterator<Item = (&str, String)> {
    text.lines().filter_map(|line| {
        let (name, escaped) = line.split_once(' ')?;
        let mut value = String::with_capacity(escaped.len());
        let mut letters = escaped.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some('n') => value.push('\n'),
                    other => value.extend(other),
                },
                letter => value.push(letter),
            }
        }
        Some((name, value))
    })
}

#[cfg(all(test, feature = "containers"))]
mod tests {
    use super::*;
    use crate::container::Source;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let record = Record {
            id: "ab".repeat(32),
            name: "web".to_owned(),
            image_name: "hub/redis:7".to_owned(),
            chains: words(&["12", "34"]),
            created: (-5, 6),
            argv: words(&["sh", "-c", "echo a\nb \\n", ""]),
            env: words(&["A=1\n2", "B=\\", "C="]),
            cwd: "/a b".to_owned(),
            user: "app:7".to_owned(),
            hostname: "box".to_owned(),
            labels: words(&["a=b", "c"]),
            volumes: vec![Volume {
                source: Source::Host("/x:y z".into()),
                target: "/data".to_owned(),
                readonly: true,
            }],
            groups: words(&["audio", "7"]),
            dns: words(&["1.1.1.1"]),
            dns_search: words(&["."]),
            dns_options: words(&["ndots:2"]),
            hosts: vec![("db".to_owned(), "::1".to_owned())],
            shm_size: Some("1m".to_owned()),
            ulimits: words(&["nofile=1:2"]),
            cap_add: words(&["SYS_TIME"]),
            cap_drop: words(&["ALL"]),
            flags: Flags { tty: true, remove: true, any_call: true, ..Flags::default() },
            #[cfg(feature = "bridge")]
            network: Some("lan".to_owned()),
            #[cfg(feature = "bridge")]
            address: "10.1.2.3".parse().ok(),
            #[cfg(feature = "bridge")]
            aliases: words(&["www"]),
            #[cfg(feature = "bridge")]
            ports: Port::parse("::1 80 8080 udp").into_iter().collect(),
            bounds: Bounds { memory: Some(5), pids: Some(7), ..Bounds::default() },
            restart: Restart::OnFailure(Some(3)),
            stop_signal: 2,
            stop_timeout: 99,
            health: Some(Healthcheck {
                test: words(&["CMD", "a\n\"b"]),
                retries: 2,
                ..Healthcheck::default()
            }),
            ..Record::empty(Digest::of(b"image"))
        };
        assert_eq!(Record::parse(&record.to_text()).unwrap(), record);
        let more = format!("{}later thing\n", record.to_text());
        assert_eq!(Record::parse(&more).unwrap(), record, "what a later lath adds is passed over");
        assert!(Record::parse("name x\n").is_err());
        assert!(Record::parse("id x\narg y\nimage zz\n").is_err());
    }
}
