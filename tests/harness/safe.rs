//! A server with TLS (python3's), certificates made with openssl for it, and an authority that
//! only a test trusts.

use super::process::own_children;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Serves `GET /f` with "safe\n", and redirects `/down?URL` to that URL. As a registry it sends
/// whoever asks to a realm that is plain.
const SERVER: &str = r#"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/down?"):
            self.send_response(302)
            self.send_header("Location", self.path[6:])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.startswith("/v2/"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Bearer realm="http://192.0.2.1/token"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"safe\n")
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
if sys.argv[4] == "weak":
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
context.load_cert_chain(sys.argv[1], sys.argv[2])
if sys.argv[3] == "1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
if sys.argv[4] == "guarded":
    context.load_verify_locations("ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// Ends TLS and leads what is inside to a port.
const RELAY: &str = r#"
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
def pipe(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    other.close()
def serve(client):
    client = context.wrap_socket(client, server_side=True)
    server = socket.create_connection(("127.0.0.1", int(sys.argv[3])))
    threading.Thread(target=pipe, args=(client, server), daemon=True).start()
    pipe(server, client)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// An authority in a folder of its own.
pub struct Authority(PathBuf);

impl Authority {
    /// Makes its key and its certificate.
    pub fn new(folder: &Path) -> Authority {
        fs::create_dir_all(folder).unwrap();
        let authority = Authority(folder.to_owned());
        let name = folder.file_name().unwrap().to_str().unwrap();
        authority.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} \
             -keyout ca.key -out ca.pem"
        ));
        authority
    }

    /// One that may only vouch for these names.
    pub fn narrow(folder: &Path, names: &str) -> Authority {
        fs::create_dir_all(folder).unwrap();
        let authority = Authority(folder.to_owned());
        authority.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=narrow \
             -addext nameConstraints=critical,permitted;{names} -keyout ca.key -out ca.pem"
        ));
        authority
    }

    /// A server whose certificate vouches for itself.
    pub fn self_signed(&self, name: &str) -> SafeWeb {
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=self \
             -addext subjectAltName={name} -addext basicConstraints=critical,CA:FALSE \
             -keyout self.key -out self.pem"
        ));
        self.serve("self", "1.3", "open")
    }

    /// A server whose certificate is signed with SHA-1.
    pub fn weak(&self, name: &str, times: (&str, &str)) -> SafeWeb {
        self.signed("weak", name, times, "ec", "sha1");
        self.serve("weak", "1.3", "weak")
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Its certificate, for SSL_CERT_FILE.
    pub fn file(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// Makes a certificate for a name, valid from and to these times (`YYMMDDHHMMSSZ`), and a
    /// server that shows it. `key` is `ec` or `rsa`, `most` the newest version of TLS.
    pub fn server(&self, name: &str, times: (&str, &str), key: &str, most: &str) -> SafeWeb {
        let id = format!("{key}-{most}-{}-{}", times.0, name.replace(':', "-"));
        self.certificate(&id, name, times, key);
        self.serve(&id, most, "open")
    }

    /// A server that wants a certificate of this authority from its clients too.
    pub fn guarded(&self, name: &str, times: (&str, &str)) -> SafeWeb {
        self.certificate("guarded", name, times, "ec");
        self.serve("guarded", "1.3", "guarded")
    }

    /// Makes `ID.pem` and `ID.key`.
    pub fn certificate(&self, id: &str, name: &str, times: (&str, &str), key: &str) {
        self.signed(id, name, times, key, "sha256");
    }

    fn signed(&self, id: &str, name: &str, times: (&str, &str), key: &str, hash: &str) {
        let kind = match key {
            "rsa" => "rsa:2048",
            _ => "ec -pkeyopt ec_paramgen_curve:P-256",
        };
        self.openssl(&format!(
            "req -newkey {kind} -nodes -subj /CN={id} -keyout {id}.key -out {id}.csr"
        ));
        fs::write(self.0.join("ext"), format!("subjectAltName={name}\n")).unwrap();
        fs::write(self.0.join("index"), "").unwrap();
        fs::write(
            self.0.join("ca.conf"),
            "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nnew_certs_dir=.\ncertificate=ca.pem\n\
             private_key=ca.key\nrand_serial=yes\npolicy=p\nunique_subject=no\n\
             [p]\ncommonName=supplied\n",
        )
        .unwrap();
        let (from, to) = times;
        self.openssl(&format!(
            "ca -batch -md {hash} -config ca.conf -startdate {from} -enddate {to} -extfile ext -notext \
             -in {id}.csr -out {id}.pem"
        ));
    }

    /// A server that speaks TLS for one on a port that does not.
    pub fn relay(&self, name: &str, times: (&str, &str), port: u16) -> SafeWeb {
        self.certificate("relay", name, times, "ec");
        self.start(RELAY, "relay", &[&port.to_string()])
    }

    fn serve(&self, id: &str, most: &str, kind: &str) -> SafeWeb {
        self.start(SERVER, id, &[most, kind])
    }

    fn start(&self, program: &str, id: &str, words: &[&str]) -> SafeWeb {
        let mut child = Command::new("python3")
            .args(["-c", program, &format!("{id}.pem"), &format!("{id}.key")])
            .args(words)
            .current_dir(&self.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        own_children().insert(child.id());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        SafeWeb { child, port: line.trim().parse().unwrap() }
    }

    fn openssl(&self, words: &str) {
        let mut command = Command::new("openssl");
        command.args(words.split_whitespace()).current_dir(&self.0);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// A server that runs until it is dropped.
pub struct SafeWeb {
    child: Child,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl Drop for SafeWeb {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        own_children().remove(&self.child.id());
    }
}
