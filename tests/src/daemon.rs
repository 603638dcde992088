//! Other real servers than nginx, on a host of the lab: haproxy with TLS, Exim, dnsmasq, OpenSSH.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::host::Host;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait;

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// A server program that listens on a TCP port.
pub struct Daemon {
    namespace: Namespace,
    folder: PathBuf,
    port: u16,
    program: &'static str,
    arguments: Vec<String>,
    /// `None` while it is stopped.
    process: Option<Process>,
}

impl Daemon {
    /// haproxy on `port`: it ends TLS with a certificate of its own for `name`, and answers 200 to everything but `/down`.
    /// [`Daemon::certificate`] is what to trust.
    #[track_caller]
    pub fn haproxy(lab: &Lab, host: &Host, port: u16, name: &str) -> Daemon {
        let folder = folder(lab, host, "haproxy");
        make_certificate(&folder, name);
        let path = folder.display();
        let text = format!(
            "global\n  log stderr format raw local0\n\
             defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 5s\n\
             frontend tls\n  bind :::{port} v4v6 ssl crt {path}/both.pem\n\
               \x20 http-request return status 503 if {{ path /down }}\n\
               \x20 http-request return status 200 content-type text/plain lf-string \"{}\\n\"\n",
            host.role()
        );
        write(&folder.join("haproxy.cfg"), &text);
        Daemon::start(host, folder, port, "haproxy", &["-db", "-f", "haproxy.cfg"])
    }

    /// Exim on port 25: takes every mail, into one file ([`Daemon::mail`]).
    #[track_caller]
    pub fn exim(lab: &Lab, host: &Host) -> Daemon {
        let folder = folder(lab, host, "exim");
        let path = folder.display();
        let text = format!(
            "primary_hostname = mail.example.com\nexim_path = /usr/sbin/exim4\nspool_directory = {path}/spool\n\
             log_file_path = {path}/%s.log\npid_file_path = {path}/exim.pid\nkeep_environment =\n\
             daemon_smtp_ports = 25\ndeliver_drop_privilege = true\nhost_lookup =\nrfc1413_query_timeout = 0s\n\
             tls_advertise_hosts =\nacl_smtp_rcpt = everybody\nbegin acl\neverybody:\n  accept\n\
             begin routers\nall:\n  driver = accept\n  transport = file\n\
             begin transports\nfile:\n  driver = appendfile\n  file = {path}/mail\n  user = Debian-exim\n"
        );
        write(&folder.join("exim.conf"), &text);
        run("chown", &["Debian-exim", &folder.to_string_lossy()]);
        let config = folder.join("exim.conf").to_string_lossy().into_owned();
        Daemon::start(host, folder, 25, "exim4", &["-C", &config, "-bdf", "-q1h"])
    }

    /// dnsmasq on port 53 (TCP and UDP): knows that `www.example.com` is 203.0.113.5, and refuses what it does not know.
    #[track_caller]
    pub fn dnsmasq(lab: &Lab, host: &Host) -> Daemon {
        let folder = folder(lab, host, "dnsmasq");
        let arguments = [
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
            "--pid-file",
            "--user=root",
            "--address=/www.example.com/203.0.113.5",
        ];
        Daemon::start(host, folder, 53, "dnsmasq", &arguments)
    }

    /// OpenSSH on `port`.
    #[track_caller]
    pub fn sshd(lab: &Lab, host: &Host, port: u16) -> Daemon {
        let folder = folder(lab, host, "sshd");
        let key = folder.join("key").to_string_lossy().into_owned();
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key]);
        std::fs::create_dir_all("/run/sshd").expect("root makes it");
        write(&folder.join("sshd_config"), &format!("Port {port}\nHostKey {key}\nPidFile none\nUsePAM no\n"));
        let config = folder.join("sshd_config").to_string_lossy().into_owned();
        // It insists on an absolute path, to be able to start itself again.
        Daemon::start(host, folder, port, "/usr/sbin/sshd", &["-D", "-e", "-f", &config])
    }

    #[track_caller]
    fn start(host: &Host, folder: PathBuf, port: u16, program: &'static str, arguments: &[&str]) -> Daemon {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let namespace = host.namespace().clone();
        let mut daemon = Daemon { namespace, folder, port, program, arguments, process: None };
        daemon.start_again();
        daemon
    }

    /// Starts it after [`Daemon::stop`]. On return it listens.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "{} of {} runs already", self.program, self.namespace.name());
        let mut command = self.namespace.command(self.program);
        command.args(&self.arguments).current_dir(&self.folder);
        let mut process = self.namespace.spawn(command);
        let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        let up = self.namespace.enter(|| {
            wait::try_until(START, || process.ended().map(|_| false).or_else(|| listens().then_some(true)))
        });
        assert!(up == Some(true), "{} does not listen:\n{}", self.program, process.log().text());
        self.process = Some(process);
    }

    /// Stops it; its port then refuses connections.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.stop(STOP);
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// haproxy's certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    /// All mail that Exim has delivered so far.
    pub fn mail(&self) -> String {
        std::fs::read_to_string(self.folder.join("mail")).unwrap_or_default()
    }
}

#[track_caller]
fn folder(lab: &Lab, host: &Host, program: &str) -> PathBuf {
    let folder = lab.file(&format!("{}-{program}", host.role()));
    std::fs::create_dir(&folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
    // Exim and sshd give up their rights, and still have to get there.
    run("chmod", &["755", &folder.to_string_lossy(), &lab.folder().to_string_lossy()]);
    folder
}

#[track_caller]
fn make_certificate(folder: &Path, name: &str) {
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|file| folder.join(file));
    let (subject, names) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-addext",
            &names,
            // It signs itself, and yet is no authority: rustls takes none for a server's certificate.
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key.to_string_lossy(),
            "-out",
            &certificate.to_string_lossy(),
        ],
    );
    let read = |path: &Path| std::fs::read_to_string(path).expect("openssl has written it");
    write(&folder.join("both.pem"), &(read(&certificate) + &read(&key)));
}

#[track_caller]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).env("PATH", crate::privilege::SYSTEM_PATH).output();
    let output = output.unwrap_or_else(|fault| panic!("{program}: {fault}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
