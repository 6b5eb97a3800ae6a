//! Where settings come from: layers of texts, later ones win.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::problem::Problem;

/// Every key with its default.
pub const DEFAULTS: &str = include_str!("../../config/auditshield.toml");
/// Read where it stands if no `--config` is given.
pub const FILE_DEFAULT: &str = "config/auditshield.toml";
/// Largest configuration, secret or dotenv file read, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Keys whose environment name is not `AUDITSHIELD_<SECTION>__<KEY>`.
const NAMES: [(&str, &str); 9] = [
    ("secret_key", "AUDITSHIELD_SECRET_KEY"),
    ("cinetpay.env", "CINETPAY_ENV"),
    ("cinetpay.api_url", "CINETPAY_API_URL"),
    ("cinetpay.api_key", "CINETPAY_API_KEY"),
    ("cinetpay.site_id", "CINETPAY_SITE_ID"),
    ("cinetpay.return_url", "CINETPAY_RETURN_URL"),
    ("cinetpay.notify_url", "CINETPAY_NOTIFY_URL"),
    ("cinetpay.webhook_secret", "CINETPAY_WEBHOOK_SECRET"),
    ("log.level", "AUDITSHIELD_LOG"),
];

/// What the caller of the program gave.
#[derive(Clone, Default)]
pub struct Given {
    /// `--config`: must exist. `None`: [`FILE_DEFAULT`] if it exists.
    pub file: Option<PathBuf>,
    /// `--env-file`: must exist.
    pub env_file: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What the command itself decides, by variable; wins over everything.
    pub decided: BTreeMap<String, String>,
    /// Whether [`FILE_DEFAULT`] is looked for.
    pub look_for_file: bool,
}

impl Given {
    /// What this process was given, with the two flags of the command line.
    pub fn from_process(file: Option<PathBuf>, env_file: Option<PathBuf>) -> Self {
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { file, env_file, env, look_for_file: true, ..Self::default() }
    }
    /// Only these variables: no file, no environment. For `demo` and the tests.
    pub fn only<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let env = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { env, ..Self::default() }
    }
}

/// A text and the place it came from.
pub(super) struct Value {
    pub(super) text: String,
    /// The file it was read from; `None` for defaults and the environment.
    pub(super) place: Option<PathBuf>,
}

/// Every key with the text that won.
pub(super) struct Values {
    map: BTreeMap<String, Value>,
    /// Things worth a line in the log.
    pub(super) warnings: Vec<Problem>,
}

impl Values {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }
    /// A hash of each text, for comparing within this process.
    pub(super) fn prints(&self) -> BTreeMap<String, u64> {
        let print = |value: &Value| {
            let mut hasher = DefaultHasher::new();
            value.text.trim().hash(&mut hasher);
            hasher.finish()
        };
        self.map.iter().map(|(key, value)| (key.clone(), print(value))).collect()
    }
    fn set(&mut self, key: &str, text: String, place: Option<&Path>) {
        // An empty text is "not set", so that `NAME=` of a template does not hide the layer below.
        if !text.trim().is_empty() {
            self.map.insert(key.to_owned(), Value { text, place: place.map(Path::to_owned) });
        }
    }
}

/// The environment name of a key: `server.listen` is `AUDITSHIELD_SERVER__LISTEN`.
pub fn name_of(key: &str) -> String {
    match NAMES.iter().find(|(known, _)| *known == key) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("AUDITSHIELD_{}", key.replace('.', "__").to_ascii_uppercase()),
    }
}

/// Every key of the embedded defaults, in alphabetical order.
pub fn keys() -> BTreeSet<String> {
    parse(DEFAULTS).map(|pairs| pairs.into_iter().map(|(key, _)| key).collect()).unwrap_or_default()
}

/// Collects the layers. Problems are appended; what could be read is returned.
pub(super) fn gather(given: &Given, problems: &mut Vec<Problem>) -> Values {
    let mut values = Values { map: BTreeMap::new(), warnings: Vec::new() };
    match parse(DEFAULTS) {
        Ok(pairs) => pairs.into_iter().for_each(|(key, text)| values.set(&key, text, None)),
        Err(fault) => problems.push(Problem::new(
            "config/auditshield.toml",
            "illisible",
            &format!("unreadable: {fault}"),
        )),
    }
    let known = keys();
    file_layer(given, &known, &mut values, problems);
    secret_files(given, &known, &mut values, problems);
    variables(&given.env, &known, None, &mut values, problems);
    if let Some(path) = &given.env_file {
        match dotenv(path) {
            Ok(pairs) => variables(&pairs, &known, Some(path), &mut values, problems),
            Err(fault) => problems.push(Problem::new(
                "--env-file",
                &format!("« {} » illisible ({fault}) — vérifiez le chemin et la syntaxe", path.display()),
                &format!("cannot read it ({fault}) — check the path and the syntax"),
            )),
        }
    }
    variables(&given.decided, &known, None, &mut values, problems);
    values
}

fn file_layer(given: &Given, known: &BTreeSet<String>, values: &mut Values, problems: &mut Vec<Problem>) {
    let default = PathBuf::from(FILE_DEFAULT);
    let path = match &given.file {
        Some(path) => path.clone(),
        None if given.look_for_file && default.is_file() => default,
        None => return,
    };
    let pairs = match read(&path, FILE_BYTES_MAX).and_then(|text| parse(&text)) {
        Ok(pairs) => pairs,
        Err(fault) => {
            let fault = fault.lines().collect::<Vec<_>>().join(" ");
            problems.push(Problem::new(
                "--config",
                &format!("« {} » illisible ({fault}) — corrigez le chemin ou le fichier", path.display()),
                &format!("cannot read it ({fault}) — correct the path or the file"),
            ));
            return;
        }
    };
    for (key, text) in pairs {
        if known.contains(&key) {
            values.set(&key, text, Some(&path));
        } else {
            problems.push(unknown(&key, &nearest(&key, known), Some(&path)));
        }
    }
}

/// systemd credentials and `<NAME>_FILE`.
fn secret_files(given: &Given, known: &BTreeSet<String>, values: &mut Values, problems: &mut Vec<Problem>) {
    let folder = given.env.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    for key in known {
        let name = name_of(key);
        let credential = folder.as_ref().map(|folder| folder.join(&name)).filter(|path| path.exists());
        let variable = format!("{name}_FILE");
        let named = given.env.get(&variable).filter(|path| !path.is_empty()).map(PathBuf::from);
        for (path, shown, strict) in credential
            .map(|path| (path, &name, false))
            .into_iter()
            .chain(named.map(|path| (path, &variable, true)))
        {
            match read(&path, FILE_BYTES_MAX) {
                Ok(text) => {
                    values.set(key, text.trim_end_matches(['\r', '\n']).to_owned(), Some(&path));
                    if strict && others_may_read(&path) {
                        values.warnings.push(Problem::new(
                            shown,
                            &format!("« {} » est lisible par d'autres — chmod 600", path.display()),
                            "others on this machine may read the file — chmod 600",
                        ));
                    }
                }
                Err(fault) => problems.push(Problem::new(
                    shown,
                    &format!("« {} » illisible ({fault}) — corrigez le chemin ou les droits", path.display()),
                    &format!("cannot read it ({fault}) — correct the path or the permissions"),
                )),
            }
        }
    }
}

fn variables(
    pairs: &BTreeMap<String, String>,
    known: &BTreeSet<String>,
    place: Option<&Path>,
    values: &mut Values,
    problems: &mut Vec<Problem>,
) {
    let names: BTreeMap<String, &String> = known.iter().map(|key| (name_of(key), key)).collect();
    for (name, text) in pairs {
        if let Some(key) = names.get(name) {
            values.set(key, text.clone(), place);
        } else if name.starts_with("AUDITSHIELD_") && name.contains("__") {
            let file_of = name.strip_suffix("_FILE").is_some_and(|bare| names.contains_key(bare));
            if !file_of {
                problems.push(unknown(name, &nearest(name, names.keys()), place));
            }
        }
    }
}

fn unknown(name: &str, nearest: &str, place: Option<&Path>) -> Problem {
    Problem::new(
        name,
        &format!("réglage inconnu — vouliez-vous dire {nearest} ?"),
        &format!("unknown setting — did you mean {nearest}?"),
    )
    .at(place)
}

/// `section.key` and text of every leaf. Only two levels exist.
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let table: toml::Table = text.parse().map_err(|fault: toml::de::Error| {
        // Not the error's Display: it quotes the line, which may hold a secret.
        let before = fault.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.matches('\n').count() + 1, fault.message())
    })?;
    let mut pairs = Vec::new();
    for (section, value) in table {
        match value {
            toml::Value::Table(keys) => {
                for (key, value) in keys {
                    pairs.push((format!("{section}.{key}"), leaf(&value)?));
                }
            }
            other => pairs.push((section, leaf(&other)?)),
        }
    }
    Ok(pairs)
}

fn leaf(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(yes) => Ok(yes.to_string()),
        toml::Value::Array(items) => Ok(items.iter().map(leaf).collect::<Result<Vec<_>, _>>()?.join(",")),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => {
            Err("a value is neither a text, a whole number nor a list".to_owned())
        }
    }
}

fn dotenv(path: &Path) -> Result<BTreeMap<String, String>, String> {
    // Read by us first: the bound, and an error that does not quote the line (it may hold a secret).
    let text = read(path, FILE_BYTES_MAX)?;
    let mut pairs = BTreeMap::new();
    for (index, pair) in dotenvy::from_read_iter(text.as_bytes()).enumerate() {
        let (name, value) = pair.map_err(|_| format!("entry {} is not NAME=value", index + 1))?;
        pairs.insert(name, value);
    }
    Ok(pairs)
}

/// The file's text. What is counted is what is read: a device or a growing file has no size to trust.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|fault| fault.to_string())?;
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(|fault| fault.to_string())?;
    if text.len() as u64 > bytes_max {
        return Err(format!("larger than {bytes_max} bytes"));
    }
    Ok(text)
}

#[cfg(unix)]
fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_path: &Path) -> bool {
    false
}

/// The known name with the fewest edits to this one.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a String>) -> String {
    known.into_iter().min_by_key(|candidate| distance(name, candidate)).cloned().unwrap_or_default()
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(x != *y));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
