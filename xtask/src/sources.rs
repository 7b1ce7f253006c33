//! Production source: which files count, and which lines of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::visit::Visit;

/// A file of production code.
pub(crate) struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Lines, less those of test modules.
    pub lines: usize,
    /// Every function outside test modules.
    pub functions: Vec<Function>,
}

/// A function, from its signature to its closing brace.
pub(crate) struct Function {
    /// As declared.
    pub name: String,
    /// First line, from 1.
    pub line: usize,
    /// Length in lines.
    pub lines: usize,
}

/// All production files of a crate: what lies under `src/`, but for files of tests.
pub(crate) fn of_crate(manifest_dir: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![manifest_dir.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if name != "tests" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|end| end == "rs") && !is_test_file(&name) {
                sources.push(parse(path)?);
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn is_test_file(name: &str) -> bool {
    name == "tests.rs" || name.ends_with("_tests.rs")
}

fn parse(path: PathBuf) -> Result<Source> {
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
    let mut reader = Reader {
        functions: Vec::new(),
        test_lines: 0,
    };
    reader.visit_file(&file);
    let lines = text.lines().count() - reader.test_lines;
    Ok(Source {
        path,
        text,
        lines,
        functions: reader.functions,
    })
}

struct Reader {
    functions: Vec<Function>,
    test_lines: usize,
}

impl Reader {
    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.span().start().line;
        let end = block.span().end().line;
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line,
            lines: end + 1 - line,
        });
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_for_tests(&module.attrs) {
            let span = module.span();
            self.test_lines += span.end().line + 1 - span.start().line;
        } else {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|argument| argument == "test")
    })
}
