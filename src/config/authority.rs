//! Certificate authorities of the operator's own: `ca_file`, believed beside those of the system.

use std::io::Read;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::reader::{Fault, Reader};

/// Largest `ca_file`, in bytes: a bundle of all public authorities has about 230 KiB.
const CA_BYTES_MAX: u64 = 1024 * 1024;

/// The certificates of a `ca_file`, checked. Why the text and not the path: what was checked is what is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// One or several certificates, as PEM.
    pub pem: Vec<u8>,
}

/// `key` names a file of PEM certificates; not set is `None`, and so is a file that is wrong, with its problem told.
pub(super) fn read(reader: &Reader<'_>, key: &str) -> Option<Authorities> {
    reader
        .parsed(key, |text| load(Path::new(text)).map_err(|(french, english)| said(text, &french, &english)))
}

fn said(text: &str, french: &str, english: &str) -> Fault {
    (
        format!("« {text} » {french} — donnez un fichier de certificats PEM"),
        format!("{english} — give a file of PEM certificates"),
    )
}

fn load(path: &Path) -> Result<Authorities, Fault> {
    let unreadable =
        |fault: std::io::Error| (format!("illisible ({fault})"), format!("cannot read it ({fault})"));
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(CA_BYTES_MAX + 1).read_to_end(&mut pem).map_err(unreadable)?;
    if u64::try_from(pem.len()).is_ok_and(|length| length > CA_BYTES_MAX) {
        let english = format!("larger than {CA_BYTES_MAX} bytes");
        return Err((format!("dépasse {CA_BYTES_MAX} octets"), english));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let taken = certificate.map_err(|fault| fault.to_string());
        if let Err(fault) = taken.and_then(|one| roots.add(one).map_err(|fault| fault.to_string())) {
            let english = format!("holds a certificate that cannot be read ({fault})");
            return Err((format!("contient un certificat illisible ({fault})"), english));
        }
    }
    if roots.is_empty() {
        return Err(("ne contient aucun certificat".to_owned(), "holds no certificate".to_owned()));
    }
    Ok(Authorities { pem })
}
