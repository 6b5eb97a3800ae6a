//! The catalogue file: products, tiers, prices and the files that are sold.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::reader::Fault;
use super::sources;
use crate::domain::catalog::{Catalog, Picture, Product, Tier};
use crate::domain::values::{Currency, Money};

/// Largest catalogue read, in bytes.
const CATALOG_BYTES_MAX: u64 = 1024 * 1024;
/// Longest slug or tier id, in bytes.
const SLUG_BYTES_MAX: usize = 64;
/// Longest product or tier name, in bytes: CinetPay's `description` holds both.
const NAME_BYTES_MAX: usize = 120;
/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4_000;

/// Largest picture of a product, in bytes: a purchase page stays below 14 kB with everything that it loads.
const PICTURE_BYTES_MAX: u64 = 6 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    product: Vec<ProductText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductText {
    slug: String,
    name: String,
    #[serde(default)]
    description: String,
    picture: Option<PathBuf>,
    #[serde(default)]
    tier: Vec<TierText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierText {
    id: String,
    name: String,
    price: u64,
    currency: String,
    file: PathBuf,
}

/// Reads the catalogue and checks every file it names.
pub(super) fn load(path: &Path) -> Result<Catalog, Vec<Fault>> {
    let one = |french: String, english: String| vec![(french, english)];
    let unreadable = |fault: String| {
        one(
            format!("illisible ({fault}) — corrigez le chemin"),
            format!("cannot read it ({fault}) — correct the path"),
        )
    };
    let text = sources::read(path, CATALOG_BYTES_MAX).map_err(unreadable)?;
    let file: FileText = toml::from_str(&text).map_err(|fault| {
        let before = fault.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        one(
            format!("ligne {line} : {} — corrigez-la", fault.message()),
            format!("line {line}: {} — correct it", fault.message()),
        )
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|fault| unreadable(fault.to_string()))?;
    let mut faults = Vec::new();
    let catalog = products(file, &folder, &mut faults);
    if catalog.products.is_empty() && faults.is_empty() {
        faults.push((
            "rien à vendre — ajoutez un [[product]]".into(),
            "nothing for sale — add a [[product]]".into(),
        ));
    }
    if faults.is_empty() { Ok(catalog) } else { Err(faults) }
}

fn products(file: FileText, folder: &Path, faults: &mut Vec<Fault>) -> Catalog {
    let mut slugs = BTreeSet::new();
    let mut catalog = Catalog::default();
    for mut product in file.product {
        let at = format!("product « {} »", shown(&product.slug));
        slug(&product.slug, &at, &mut slugs, faults);
        name(&product.name, &at, faults);
        if product.description.len() > DESCRIPTION_BYTES_MAX {
            fault(faults, &at, "description trop longue", "its description is too long");
        }
        if product.tier.is_empty() {
            fault(faults, &at, "sans prix, ajoutez un [[product.tier]]", "no price, add a [[product.tier]]");
        }
        let mut ids = BTreeSet::new();
        let mut tiers = Vec::new();
        for tier in std::mem::take(&mut product.tier) {
            let at = format!("{at}, tier « {} »", shown(&tier.id));
            slug(&tier.id, &at, &mut ids, faults);
            name(&tier.name, &at, faults);
            let price = price(&tier, &at, faults);
            let file = sold_file(folder, &tier.file, &at, faults);
            if let (Some(price), Some(file)) = (price, file) {
                tiers.push(Tier { id: tier.id, name: tier.name, price, file });
            }
        }
        let picture = product.picture.as_deref().and_then(|path| picture(folder, path, &at, faults));
        let ProductText { slug, name, description, .. } = product;
        catalog.products.push(Product { slug, name, description, picture, tiers });
    }
    catalog
}

/// A picture of the catalogue: what it is decides its bytes, not its name.
fn picture(folder: &Path, path: &Path, at: &str, faults: &mut Vec<Fault>) -> Option<Picture> {
    let path = sold_file(folder, path, at, faults)?;
    let length = std::fs::metadata(&path).map_or(0, |about| about.len());
    if length > PICTURE_BYTES_MAX {
        fault(
            faults,
            at,
            &format!(
                "image de {length} octets, {PICTURE_BYTES_MAX} au plus : réduisez-la (320 pixels de large, WebP)"
            ),
            &format!(
                "its picture has {length} bytes, at most {PICTURE_BYTES_MAX}: reduce it (320 pixels wide, WebP)"
            ),
        );
        return None;
    }
    let found = std::fs::read(&path).ok().and_then(Picture::recognise);
    if found.is_none() {
        fault(
            faults,
            at,
            "image refusée, donnez du JPEG, PNG ou WebP",
            "picture refused, give JPEG, PNG or WebP",
        );
    }
    found
}

fn fault(faults: &mut Vec<Fault>, at: &str, french: &str, english: &str) {
    faults.push((format!("{at} : {french}"), format!("{at}: {english}")));
}

/// At most a line's worth of a text that may be anything.
fn shown(text: &str) -> String {
    text.chars().take(SLUG_BYTES_MAX).filter(|c| !c.is_control()).collect()
}

/// Lower-case letters, digits and inner hyphens: the same in every URL, file name and shell.
fn slug(text: &str, at: &str, seen: &mut BTreeSet<String>, faults: &mut Vec<Fault>) {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let ok = text.len() <= SLUG_BYTES_MAX
        && text.bytes().all(plain)
        && edge(text.bytes().next())
        && edge(text.bytes().last());
    if !ok {
        fault(
            faults,
            at,
            "identifiant refusé, écrivez a-z, 0-9 et des tirets au milieu",
            "refused, write a-z, 0-9 and inner hyphens",
        );
    } else if !seen.insert(text.to_owned()) {
        fault(faults, at, "en double, renommez-en un", "twice, rename one");
    }
}

fn name(text: &str, at: &str, faults: &mut Vec<Fault>) {
    if text.trim().is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        fault(
            faults,
            at,
            "nom vide, trop long ou sur deux lignes",
            "its name is empty, too long or two lines",
        );
    }
}

fn price(tier: &TierText, at: &str, faults: &mut Vec<Fault>) -> Option<Money> {
    let money = tier.currency.parse::<Currency>().and_then(|currency| Money::price(tier.price, currency));
    money
        .map_err(|why| {
            fault(
                faults,
                at,
                &format!("prix refusé ({why}), voyez config/catalog.toml"),
                &format!("price refused ({why}), see config/catalog.toml"),
            );
        })
        .ok()
}

/// The file's absolute path: a regular file, inside the catalogue's folder, with no symbolic link on the way.
fn sold_file(folder: &Path, file: &Path, at: &str, faults: &mut Vec<Fault>) -> Option<PathBuf> {
    let plain = file.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let wanted: PathBuf =
        folder.components().chain(file.components().filter(|c| *c != Component::CurDir)).collect();
    let (french, english) = match wanted.canonicalize() {
        _ if !plain => {
            ("hors du dossier du catalogue, mettez-le dedans", "outside the catalogue's folder, move it in")
        }
        Err(_) => ("fichier introuvable, vérifiez le chemin", "file not found, check the path"),
        // Canonicalising changes nothing where no part is a link.
        Ok(real) if real != wanted => {
            ("passe par un lien symbolique, copiez le fichier", "goes through a symbolic link, copy the file")
        }
        Ok(real) if !real.is_file() => ("n'est pas un fichier ordinaire", "not a regular file"),
        Ok(real) => return Some(real),
    };
    let file = shown(&file.display().to_string());
    fault(faults, at, &format!("« {file} » {french}"), &format!("{file}: {english}"));
    None
}
