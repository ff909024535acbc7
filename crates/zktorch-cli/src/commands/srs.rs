use crate::args;
use crate::ui::{Ui, bytes};
use crate::{Failure, Outcome};
use serde_json::json;
use std::path::Path;
use zktorch::{ReferenceString, container};

/// `zktorch srs`.
pub fn srs(args: &args::Srs, ui: &Ui) -> Result<Outcome, Failure> {
    match args {
        args::Srs::Generate { size_log2, output } => {
            container::check_writable(output)?;
            ui.phase("generating");
            let srs = ReferenceString::generate(*size_log2);
            ui.phase("writing");
            srs.write(output)?;
            ui.warn("for development only: whoever generates a reference string can forge proofs. Between parties, use one from a ceremony (zktorch srs import)");
            report(&srs, output, true, ui);
        }
        args::Srs::Import { ptau, size_log2, output } => {
            container::check_writable(output)?;
            ui.phase("importing and checking");
            let srs = ReferenceString::import_ptau(ptau, *size_log2)?;
            ui.phase("writing");
            srs.write(output)?;
            report(&srs, output, false, ui);
        }
        args::Srs::Verify { srs: path } => {
            ui.phase("reading");
            let srs = ReferenceString::read(path)?;
            ui.phase("checking");
            srs.check(path)?;
            ui.finish();
            ui.result(&json!({ "valid": true, "file": path, "size": srs.len() }));
            ui.line(format!("valid: {} powers of one secret", srs.len()));
            ui.line("these checks cannot tell whether somebody knows the secret");
        }
    }
    Ok(Outcome::Done)
}

fn report(srs: &ReferenceString, path: &Path, development: bool, ui: &Ui) {
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    ui.result(&json!({ "file": path, "file_bytes": size, "size": srs.len(), "development": development }));
    ui.line(format!("wrote {} ({}): {} powers", path.display(), bytes(size), srs.len()));
}
