//! nginx on a real server. It says who it is, serves files, and keeps what is uploaded.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::host::Host;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::{payload, wait};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// An nginx that answers on every address of its host, those of IPv6 included.
///
/// `/` is one line with the name of the host, which the header `X-Real-Server` has too; `/NAME` is a file made by
/// [`WebServer::file`]; `PUT /upload/NAME` is kept for [`WebServer::uploaded`].
pub struct WebServer {
    namespace: Namespace,
    folder: PathBuf,
    ports: Vec<u16>,
    /// `None` while it is stopped.
    nginx: Option<Process>,
}

impl WebServer {
    /// Starts nginx on port 80 of `host`. On return it listens.
    #[track_caller]
    pub fn start(lab: &Lab, host: &Host) -> WebServer {
        WebServer::start_on(lab, host, &[80])
    }

    /// As [`WebServer::start`], on other ports.
    #[track_caller]
    pub fn start_on(lab: &Lab, host: &Host, ports: &[u16]) -> WebServer {
        let folder = lab.file(host.role());
        for part in ["files", "upload", "temporary"] {
            std::fs::create_dir_all(folder.join(part))
                .unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
        }
        std::fs::write(folder.join("nginx.conf"), configuration(host.role(), ports, host.has_ipv6()))
            .unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
        let mut server =
            WebServer { namespace: host.namespace().clone(), folder, ports: ports.to_vec(), nginx: None };
        server.start_again();
        server
    }

    /// One on every real server of `lab`, on port 80.
    #[track_caller]
    pub fn on_all(lab: &Lab) -> Vec<WebServer> {
        lab.real_servers().map(|host| WebServer::start(lab, host)).collect()
    }

    /// Starts it after [`WebServer::stop`]. On return it listens.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.nginx.is_none(), "the web server of {} runs already", self.namespace.name());
        let mut command = self.namespace.command("nginx");
        command.arg("-p").arg(&self.folder).args(["-c", "nginx.conf", "-e", "stderr"]);
        let mut nginx = self.namespace.spawn(command);
        let listens =
            || self.ports.iter().all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok());
        let up = self.namespace.enter(|| {
            wait::try_until(START, || {
                // One that has ended will not listen any more; its log says why.
                nginx.ended().map(|_| false).or_else(|| listens().then_some(true))
            })
        });
        assert!(
            up == Some(true),
            "nginx in {} does not listen:\n{}",
            self.namespace.name(),
            nginx.log().text()
        );
        self.nginx = Some(nginx);
    }

    /// Stops it; its port then refuses connections.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.running().stop(STOP)
    }

    /// Kills it.
    #[track_caller]
    pub fn kill9(&mut self) -> ExitStatus {
        self.running().kill9()
    }

    /// Makes the file `/NAME` of `bytes` bytes, which follow from `seed`, and says where it lies.
    #[track_caller]
    pub fn file(&self, name: &str, bytes: u64, seed: u64) -> PathBuf {
        let path = self.folder.join("files").join(name);
        payload::write(&path, bytes, seed).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        path
    }

    /// Where an upload to `/upload/NAME` lies, if it has arrived here, whole.
    pub fn uploaded(&self, name: &str) -> Option<PathBuf> {
        // nginx writes elsewhere and moves the file here at its end.
        Some(self.folder.join("upload").join(name)).filter(|path| path.exists())
    }

    /// The requests that were answered, each as `CLIENT:PORT METHOD PATH STATUS`. nginx writes one down after it has
    /// answered: a client that has its answer may be a moment too early to find it here.
    #[track_caller]
    pub fn requests(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("access.log"))
            .expect("nginx makes the log at its start");
        text.lines().map(str::to_owned).collect()
    }

    /// The folder of its files, configuration and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it listens on `host`.
    pub fn address(&self, host: &Host) -> SocketAddr {
        (host.address(), self.ports[0]).into()
    }

    #[track_caller]
    fn running(&mut self) -> Process {
        self.nginx.take().expect("the web server is running")
    }
}

/// One process, with no master above it: its pid is the server, and it cannot leave workers behind when it is killed.
fn configuration(name: &str, ports: &[u16], ipv6: bool) -> String {
    let mut listen = String::new();
    for port in ports {
        listen += &format!("    listen {port} backlog=4096;\n");
        if ipv6 {
            listen += &format!("    listen [::]:{port} backlog=4096 ipv6only=on;\n");
        }
    }
    format!(
        r#"daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  log_format line "$remote_addr:$remote_port $request_method $uri $status";
  access_log access.log line;
  client_body_temp_path temporary;
  proxy_temp_path temporary;
  fastcgi_temp_path temporary;
  uwsgi_temp_path temporary;
  scgi_temp_path temporary;
  client_max_body_size 0;
  sendfile on;
  server {{
{listen}    default_type text/plain;
    add_header X-Real-Server {name} always;
    location = / {{ return 200 "{name}\n"; }}
    location /slow {{ root files; limit_rate 64k; }}
    location /trickle {{ root files; limit_rate 16k; }}
    location / {{ root files; }}
    location /upload/ {{ root .; dav_methods PUT; }}
  }}
}}
"#
    )
}
