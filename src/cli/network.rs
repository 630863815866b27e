//! `lath network`: networks that containers have among themselves.

use std::io::Write as _;
use std::net::Ipv4Addr;

use argh::FromArgs;

use super::normalize::{Opt, Settled, Shape};
use super::run::is_name;
use super::{Globals, Output, arguments, each, exit, listing};
use crate::container::network::{self, BRIDGE, NetworkRecord};
use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::json::Value;
use crate::session::Session;

/// Look after networks of containers: create, ls, inspect, rm, prune
#[derive(FromArgs)]
#[argh(subcommand, name = "network")]
pub struct Args {
    /// rm: one that is not there is no failure; prune: do not ask
    #[argh(switch, short = 'f')]
    force: bool,
    /// ls: only that for which it holds: name=, label=NAME[=VALUE]
    #[argh(option, arg_name = "filter")]
    filter: Vec<String>,
    /// ls, inspect: print by a template, or "json"
    #[argh(option, arg_name = "template")]
    format: Option<String>,
    /// create: without a way out
    #[argh(switch)]
    internal: bool,
    /// create: a label
    #[argh(option, arg_name = "name=value")]
    label: Vec<String>,
    /// ls: whole ids
    #[argh(switch)]
    no_trunc: bool,
    /// ls: print ids only
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// create: its addresses, such as 10.7.0.0/24; else ones that are free
    #[argh(option, arg_name = "address/bits")]
    subnet: Option<String>,
    /// create NAME, ls, inspect NAME..., rm NAME..., prune
    #[argh(positional, arg_name = "word")]
    words: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("force", Some('f')),
        Opt::values("filter", None),
        Opt::value("format", None),
        Opt::switch("internal", None),
        Opt::values("label", None),
        Opt::switch("no-trunc", None),
        Opt::switch("quiet", Some('q')),
        Opt::value("subnet", None),
    ],
    settled: &[Settled {
        opt: Opt::value("driver", Some('d')),
        values: &["bridge"],
        hint: "networks are bridges of this machine",
    }],
    planned: &[
        "attachable", "aux-address", "config-from", "config-only", "gateway", "ingress", "ip-range",
        "ipam-driver", "ipam-opt", "ipv4", "ipv6", "opt", "o", "scope", "verbose", "v", "alias", "ip",
    ],
    ..Shape::PLAIN
};

const TABLE: &str = r"table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
const NAMES: &[(&str, &str)] = &[("ID", "NETWORK ID")];

/// Does what the first word says.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let mut words = args.words;
    let verb = if words.is_empty() { String::new() } else { words.remove(0) };
    let options: [(bool, &str, &[&str]); 8] = [
        (args.force, "force", &["rm", "remove", "prune"]),
        (!args.filter.is_empty(), "filter", &["ls", "list"]),
        (args.format.is_some(), "format", &["ls", "list", "inspect"]),
        (args.internal, "internal", &["create"]),
        (!args.label.is_empty(), "label", &["create"]),
        (args.no_trunc, "no-trunc", &["ls", "list"]),
        (args.quiet, "quiet", &["ls", "list"]),
        (args.subnet.is_some(), "subnet", &["create"]),
    ];
    arguments::for_verb("network", &verb, &options)?;
    match verb.as_str() {
        "create" => {
            let [name] = arguments::exactly("network create", words)?;
            let record = NetworkRecord {
                name: checked(&name)?,
                subnet: args.subnet.as_deref().map(subnet).transpose()?,
                internal: args.internal,
                labels: args.label,
                ..NetworkRecord::default()
            };
            writeln!(out, "{}", network::create(&globals.open()?, record)?)?;
            Ok(exit::SUCCESS)
        }
        "ls" | "list" => {
            arguments::exactly::<0>("network ls", words)?;
            let found = filtered(&globals.open()?, &args.filter)?;
            let own = if args.quiet { "{{.ID}}" } else { TABLE };
            let mut rows = found.iter().map(|network| row(network, args.no_trunc));
            listing::print(args.format.as_deref(), own, NAMES, &mut rows, out)?;
            Ok(exit::SUCCESS)
        }
        "inspect" => inspect(&globals.open()?, &words, args.format.as_deref(), out),
        "rm" | "remove" => {
            let session = globals.open()?;
            each::all("network rm", &words, args.force, out, &mut |name| {
                network::remove(&session, name)?;
                Ok(Some(name.to_owned()))
            })
        }
        "prune" => {
            arguments::exactly::<0>("network prune", words)?;
            prune(args.force, globals, out)
        }
        "connect" | "disconnect" => {
            Err(Error::unsupported(format!("network {verb} is not supported yet"))
                .hint("a container's network is said when it is made: lath run --network NAME"))
        }
        _ => Err(Error::usage("'lath network' takes one of: create, ls, inspect, rm, prune")),
    }
}

fn checked(name: &str) -> Result<String> {
    if matches!(name, BRIDGE | "host" | "none" | "default") {
        let text = format!("operation is not permitted on predefined {name} network");
        return Err(Error::new(Kind::Conflict, text));
    }
    match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(Error::usage(format!("invalid network name ({name:?})"))
            .hint("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")),
    }
}

/// `ADDRESS/BITS`.
fn subnet(word: &str) -> Result<(Ipv4Addr, u8)> {
    let parts = word.split_once('/');
    let parsed = parts.and_then(|(address, bits)| {
        Some((address.parse::<Ipv4Addr>().ok()?, bits.parse::<u8>().ok()?))
    });
    match parsed {
        Some((address, bits @ 8..=29)) if address == network::first_of(address, bits) => {
            Ok((address, bits))
        }
        Some((address, bits @ 8..=29)) => {
            let first = network::first_of(address, bits);
            Err(Error::usage(format!("invalid subnet {word}: it should be {first}/{bits}")))
        }
        _ => Err(Error::usage(format!("invalid subnet {word}"))
            .hint("write it as 10.7.0.0/24; 8 to 29 bits, IPv4")),
    }
}

/// The three that are always there, and those that were made.
fn every(session: &Session) -> Result<Vec<NetworkRecord>> {
    let fixed = |name: &str| NetworkRecord {
        name: name.to_owned(),
        id: Digest::of(name.as_bytes()).hex(),
        ..NetworkRecord::default()
    };
    let mut found: Vec<_> = [BRIDGE, "host", "none"].into_iter().map(fixed).collect();
    found.append(&mut network::all(session)?);
    Ok(found)
}

fn filtered(session: &Session, filters: &[String]) -> Result<Vec<NetworkRecord>> {
    let mut found = every(session)?;
    for word in filters {
        let wrong = || {
            Error::usage(format!("invalid filter {word:?}"))
                .hint("use name=TEXT, id=TEXT, driver=TEXT or label=NAME[=VALUE]")
        };
        let (field, value) = word.split_once('=').ok_or_else(wrong)?;
        let has_label = |network: &NetworkRecord| listing::has_label(&network.labels, value);
        match field {
            "name" => found.retain(|network| network.name.contains(value)),
            "id" => found.retain(|network| network.id.starts_with(value)),
            "driver" => found.retain(|network| driver(network) == value),
            "label" => found.retain(has_label),
            _ => return Err(wrong()),
        }
    }
    Ok(found)
}

fn driver(network: &NetworkRecord) -> &str {
    match network.name.as_str() {
        "none" => "null",
        "host" => "host",
        _ => "bridge",
    }
}

fn row(network: &NetworkRecord, in_full: bool) -> Value {
    let id = if in_full { Some(network.id.as_str()) } else { network.id.get(..12) };
    let mut value = Value::default();
    for (field, text) in [
        ("CreatedAt", network.created.as_str()),
        ("Driver", driver(network)),
        ("ID", id.unwrap_or_default()),
        ("Internal", if network.internal { "true" } else { "false" }),
        ("Labels", &network.labels.join(",")),
        ("Name", &network.name),
        ("Scope", "local"),
    ] {
        value.set(field, Some(Value::string(text)));
    }
    value
}

fn inspect(session: &Session, names: &[String], format: Option<&str>, out: &mut Output) -> Result<i32> {
    arguments::at_least("network inspect", names, 1)?;
    let all = every(session)?;
    let mut find = |name: &str| {
        let is_it = |network: &&NetworkRecord| {
            network.name == name || name.len() >= 4 && network.id.starts_with(name)
        };
        let missing = || Error::not_found(format!("network {name} not found"));
        value(session, all.iter().find(is_it).ok_or_else(missing)?)
    };
    listing::inspect(names, format, (TABLE, NAMES), &mut find, out)
}

/// docker's fields.
fn value(session: &Session, network: &NetworkRecord) -> Result<Value> {
    let text = |text: &str| Some(Value::string(text));
    let (mut pools, mut members) = (Vec::new(), Value::default());
    if driver(network) == "bridge" {
        let own = network::find(session, &network.name)?;
        if let Some((first, bits, gateway)) = network::addresses(&own) {
            let mut pool = Value::default();
            pool.set("Subnet", text(&format!("{first}/{bits}")));
            pool.set("Gateway", text(&gateway.to_string()));
            pools.push(pool);
        }
        for (record, address) in network::members(session, &own)? {
            let Some(address) = address else { continue };
            let mut member = Value::default();
            member.set("Name", text(&record.name));
            member.set("IPv4Address", text(&address.to_string()));
            members.set(&record.id, Some(member));
        }
    }
    let mut plan = Value::default();
    plan.set("Driver", text("default"));
    plan.set("Config", Some(Value::Array(pools)));
    let mut out = Value::default();
    out.set("Name", text(&network.name));
    out.set("Id", text(&network.id));
    out.set("Created", text(&network.created));
    out.set("Scope", text("local"));
    out.set("Driver", text(driver(network)));
    out.set("IPAM", Some(plan));
    out.set("Internal", Some(Value::Bool(network.internal)));
    out.set("Containers", Some(members));
    out.set("Labels", Some(Value::labels(&network.labels)));
    Ok(out)
}

#[cfg(feature = "prune")]
fn prune(force: bool, globals: &Globals, out: &mut Output) -> Result<i32> {
    use super::prune::{is_wanted, tell};
    if !force && !is_wanted(" all custom networks not used by at least one container.", out)? {
        return Ok(exit::SUCCESS);
    }
    tell("Deleted Networks:", remove_unused(&globals.open()?)?, out)?;
    Ok(exit::SUCCESS)
}

#[cfg(not(feature = "prune"))]
fn prune(_: bool, _: &Globals, _: &mut Output) -> Result<i32> {
    Err(Error::built_without("prune"))
}

/// Removes the networks that no container has; their names.
#[cfg(feature = "prune")]
pub(super) fn remove_unused(session: &Session) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for network in network::all(session)? {
        match network::remove(session, &network.name) {
            Ok(()) => names.push(network.name),
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_a_first_address_and_bits() {
        assert_eq!(subnet("10.7.0.0/24").unwrap(), (Ipv4Addr::new(10, 7, 0, 0), 24));
        for (wrong, said) in [
            ("10.7.0.1/24", "it should be 10.7.0.0/24"),
            ("10.7.0.0", "invalid subnet"),
            ("10.7.0.0/31", "invalid subnet"),
            ("fd00::/64", "invalid subnet"),
        ] {
            assert!(subnet(wrong).unwrap_err().text().contains(said), "{wrong}");
        }
    }
}
