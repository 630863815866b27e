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
context.load_cert_chain(sys.argv[1], sys.argv[2])
if sys.argv[3] == "1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
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

    /// Its certificate, for SSL_CERT_FILE.
    pub fn file(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// Makes a certificate for a name, valid from and to these times (`YYMMDDHHMMSSZ`), and a
    /// server that shows it. `key` is `ec` or `rsa`, `most` the newest version of TLS.
    pub fn server(&self, name: &str, times: (&str, &str), key: &str, most: &str) -> SafeWeb {
        let id = format!("{key}-{most}-{}-{}", times.0, name.replace(':', "-"));
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
             private_key=ca.key\nrand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n\
             [p]\ncommonName=supplied\n",
        )
        .unwrap();
        let (from, to) = times;
        self.openssl(&format!(
            "ca -batch -config ca.conf -startdate {from} -enddate {to} -extfile ext -notext \
             -in {id}.csr -out {id}.pem"
        ));
        let mut child = Command::new("python3")
            .args(["-c", SERVER, &format!("{id}.pem"), &format!("{id}.key"), most])
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
