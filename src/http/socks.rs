//! A connection through a SOCKS proxy, version 5 (RFC 1928), with a name and a password (RFC 1929)
//! where it wants them. The proxy looks the host's name up: that is what it is there for.

use super::connection::Stream;
use super::url::Url;
use crate::error::{Context, Error, Kind, Result};

/// Asks for a connection to a server.
pub(super) fn tunnel(wire: &mut dyn Stream, proxy: &Url, to: &Url) -> Result<()> {
    ask(wire, proxy, to).context(|| format!("ask the proxy {}", proxy.host_and_port()))
}

fn ask(wire: &mut dyn Stream, proxy: &Url, to: &Url) -> Result<()> {
    let user = proxy.user_and_password();
    // No proof, or a name and a password.
    let methods: &[u8] = if user.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    wire.write_all(methods)?;
    let [version, method] = read(wire)?;
    match (version, method, user) {
        (5, 0, _) => {}
        (5, 2, Some((name, password))) => {
            let mut text = vec![1];
            for part in [name, password] {
                text.push(length(part.len())?);
                text.extend(part);
            }
            wire.write_all(&text)?;
            let [_, status] = read(wire)?;
            if status != 0 {
                return Err(Error::new(Kind::Denied, "it does not take this name and password"));
            }
        }
        (5, ..) => {
            return Err(Error::new(Kind::Denied, "it wants to know who asks")
                .hint("socks5://NAME:PASSWORD@PROXY"));
        }
        _ => return Err(Error::input("it is no SOCKS proxy of version 5")),
    }
    let mut text = vec![5, 1, 0, 3, length(to.host.len())?];
    text.extend(to.host.as_bytes());
    text.extend(to.port.to_be_bytes());
    wire.write_all(&text)?;
    let [version, status, _, kind] = read(wire)?;
    if version != 5 || status != 0 {
        let text = format!("it gives no way to {}: status {status}", to.host_and_port());
        return Err(Error::input(text).hint("NO_PROXY names the hosts that need none"));
    }
    // Where the connection leads from is nobody's business here.
    let left = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(u8::from_be_bytes(read(wire)?)),
        _ => return Err(Error::input("its answer is malformed")),
    };
    for _ in 0..left + 2 {
        read::<1>(wire)?;
    }
    Ok(())
}

fn length(bytes: usize) -> Result<u8> {
    u8::try_from(bytes).map_err(|_| Error::input("a name is longer than 255 bytes"))
}

fn read<const N: usize>(wire: &mut dyn Stream) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    wire.read_exact(&mut bytes)?;
    Ok(bytes)
}
