//! A PostgreSQL server of one's own: made in a folder, on loopback, and gone with it. `demo --nodes` and the tests run
//! the installed programs; production code never names it.
//!
//! Why a password although it is on loopback: its user may run programs as the server's owner, and others may share the
//! machine.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian and others put the programs, below a folder for each version.
const PLACES: [&str; 4] =
    ["/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql", "/opt/homebrew/opt/postgresql"];
/// Who the server knows, and its first database.
const USER: &str = "auditshield";
/// The end of the server's log that an error quotes, in bytes.
const LOG_BYTES_MAX: usize = 2_000;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The programs are not installed.
    #[error(
        "PostgreSQL n'est pas installé : « apt install postgresql » (14 ou plus récent) / PostgreSQL is not installed: \
         `apt install postgresql` (14 or newer)"
    )]
    NotInstalled,
    /// They refuse to be run by root, and there is nobody else.
    #[error(
        "PostgreSQL refuse d'être lancé par root, et le compte « postgres » n'existe pas / PostgreSQL refuses to be run by \
         root, and there is no user `postgres`"
    )]
    Root,
    /// One of them failed.
    #[error("{0}: {1}")]
    Failed(&'static str, String),
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// In order; its connections are ended.
    Fast,
    /// As a crash: nothing is written any more.
    Immediate,
}

/// A server. It ends, and its folder goes, when this is dropped.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    owner: Owner,
    folder: PathBuf,
    port: u16,
    password: String,
}

// === impl Server ===

impl Server {
    /// Makes one in `folder`, which must not exist yet and whose parents its owner may enter. It does not run yet.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or fails.
    pub fn make(folder: &Path, port: u16) -> Result<Server, Fault> {
        let password = format!("{:032x}", rand::random::<u128>());
        let server = Server::prepared(folder, port, password)?;
        let secret = server.folder.join("password");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&secret)?;
        file.write_all(server.password.as_bytes())?;
        server.owner.give(&secret)?;
        let secret = secret.display().to_string();
        server
            .run("initdb", &["-D", &server.data(), "-U", USER, "-A", "scram-sha-256", "--pwfile", &secret])?;
        // Whoever the server listens to must know the password; it listens on loopback unless a test says otherwise.
        let rules = server.folder.join("data/pg_hba.conf");
        let mut rules = fs::OpenOptions::new().append(true).open(rules)?;
        rules.write_all(b"host all all all scram-sha-256\n")?;
        Ok(server)
    }

    /// A standby: a copy of this server that follows it by way of `through`, the port of whatever stands between them.
    ///
    /// # Errors
    /// The copy fails.
    pub fn copy(&self, folder: &Path, port: u16, through: u16) -> Result<Server, Fault> {
        let standby = Server::prepared(folder, port, self.password.clone())?;
        let from = format!("host=127.0.0.1 port={through} user={USER} password={}", self.password);
        let data = standby.data();
        standby.run("pg_basebackup", &["-D", &data, "-R", "-X", "stream", "-c", "fast", "-d", &from])?;
        Ok(standby)
    }

    fn prepared(folder: &Path, port: u16, password: String) -> Result<Server, Fault> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let programs = programs(&PLACES, &path).ok_or(Fault::NotInstalled)?;
        let owner = Owner::find().ok_or(Fault::Root)?;
        fs::create_dir(folder)?;
        let server = Server { programs, owner, folder: folder.to_owned(), port, password };
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        server.owner.give(folder)?;
        Ok(server)
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    /// Starts it, with these settings beside its own, and waits until it answers.
    ///
    /// # Errors
    /// It does not start: the end of its log.
    pub fn start(&self, settings: &[(&str, &str)]) -> Result<(), Fault> {
        let mut options = format!("-p {} -c unix_socket_directories=''", self.port);
        for (name, value) in [("listen_addresses", "127.0.0.1"), ("max_connections", "300")] {
            if !settings.iter().any(|(given, _)| *given == name) {
                options.push_str(&format!(" -c {name}='{value}'"));
            }
        }
        for (name, value) in settings {
            options.push_str(&format!(" -c {name}='{value}'"));
        }
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "-o", &options, "start"])
    }

    /// Stops it.
    ///
    /// # Errors
    /// It does not stop, or does not run.
    pub fn stop(&self, how: Stop) -> Result<(), Fault> {
        let how = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.run("pg_ctl", &["-D", &self.data(), "-m", how, "-w", "stop"])
    }

    /// Makes a standby take writes, and waits until it does.
    ///
    /// # Errors
    /// It is no standby.
    pub fn promote(&self) -> Result<(), Fault> {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "promote"])
    }

    /// One of PostgreSQL's programs: psql, pgbench.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `postgres://user:password`, for an address of one's own.
    pub fn user(&self) -> String {
        format!("postgres://{USER}:{}", self.password)
    }

    /// The address of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("{}@127.0.0.1:{}/{database}?sslmode=disable", self.user(), self.port)
    }

    /// Runs one of the programs to its end, as the server's owner.
    fn run(&self, name: &'static str, arguments: &[&str]) -> Result<(), Fault> {
        let said = self.folder.join("said");
        let file = fs::OpenOptions::new().create(true).append(true).open(&said)?;
        self.owner.give(&said)?;
        let mut command = Command::new(self.programs.join(name));
        command.args(arguments).current_dir(&self.folder).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        // A file and no pipe: the server keeps it open for as long as it runs.
        command.stdout(file.try_clone()?).stderr(file);
        if let Owner::Other(user, group) = self.owner {
            command.uid(user).gid(group);
        }
        if command.status()?.success() {
            return Ok(());
        }
        let logs = [said, self.folder.join("log")];
        let text: String = logs.iter().map(|log| fs::read_to_string(log).unwrap_or_default()).collect();
        let mut from = text.len().saturating_sub(LOG_BYTES_MAX);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        Err(Fault::Failed(name, text.get(from..).unwrap_or_default().trim().to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may not run; and what cannot be removed from the temporary folder is the system's to clean.
        let _ = self.stop(Stop::Immediate);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder with the newest version's programs, below one of these places or on this path.
fn programs(places: &[&str], path: &OsStr) -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for place in places {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let version = entry.file_name().to_string_lossy().parse().unwrap_or(0);
            found.push((version, entry.path().join("bin")));
        }
    }
    found.sort();
    let beside = places.iter().map(|place| Path::new(place).join("bin")).chain(std::env::split_paths(path));
    let mut all = found.into_iter().rev().map(|(_, folder)| folder).chain(beside);
    all.find(|folder| ["initdb", "pg_ctl", "postgres"].iter().all(|name| folder.join(name).is_file()))
}

/// Who runs the programs: they refuse root.
#[derive(Debug, Clone, Copy)]
enum Owner {
    /// Whoever runs this.
    Us,
    /// The account `postgres`: user and group.
    Other(u32, u32),
}

// === impl Owner ===

impl Owner {
    /// None: we are root, and there is no such account.
    fn find() -> Option<Owner> {
        // A process's own folder belongs to whoever runs it.
        let us = fs::metadata("/proc/self").map_or(1, |folder| folder.uid());
        if us != 0 {
            return Some(Owner::Us);
        }
        let accounts = fs::read_to_string("/etc/passwd").ok()?;
        let line = accounts.lines().find_map(|line| line.strip_prefix("postgres:"))?;
        let mut numbers = line.split(':').skip(1).map(str::parse);
        Some(Owner::Other(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Hands a file over.
    fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Owner::Us => Ok(()),
            Owner::Other(user, group) => chown(path, Some(user), Some(group)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_programs_are_taken_and_their_absence_is_said_in_french_first() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display().to_string();
        assert_eq!(programs(&[&place], OsStr::new("")), None);
        for (version, whole) in [("9", true), ("15", true), ("16", false)] {
            let bin = folder.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for name in ["initdb", "pg_ctl", "postgres"].iter().take(if whole { 3 } else { 2 }) {
                fs::write(bin.join(name), "").unwrap();
            }
        }
        assert_eq!(programs(&[&place], OsStr::new("")), Some(folder.path().join("15/bin")));
        let path = folder.path().join("9/bin").into_os_string();
        assert_eq!(programs(&["/nowhere"], &path), Some(PathBuf::from(&path)));
        for fault in [Fault::NotInstalled, Fault::Root] {
            let text = fault.to_string();
            let (french, english) = text.split_once(" / ").unwrap();
            assert!(french.starts_with("PostgreSQL ") && english.starts_with("PostgreSQL "), "{text}");
        }
    }
}
