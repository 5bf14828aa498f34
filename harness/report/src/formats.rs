//! Every report that is written into a run's folder: a new one is a file of its own and one line here.

use std::collections::BTreeMap;
use std::error::Error;

use meshbed_events::RunRecord;

use crate::{github, html, junit, maps, markdown, terminal, yaml};

/// A report that is a file, or a folder of files.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// What it is asked for by, such as `yaml`.
    pub name: &'static str,
    /// Its file in a run's folder; for a folder its name with a slash.
    pub file: &'static str,
    /// Whom it is for, in a few words.
    pub about: &'static str,
    /// How it is made.
    pub render: Render,
}

/// How a report is made of a record. Nothing else goes in.
#[derive(Clone, Copy, Debug)]
pub enum Render {
    /// One text that cannot fail.
    Text(fn(&RunRecord) -> String),
    /// One text, by a library that can refuse it.
    Fallible(fn(&RunRecord) -> Result<String, BoxError>),
    /// Texts by their path below the folder.
    Folder(fn(&RunRecord) -> BTreeMap<String, String>),
}

/// Why a library refused.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to make the report `{format}`")]
pub struct FormatError {
    /// Name of the format.
    pub format: &'static str,
    /// Why.
    #[source]
    pub source: BoxError,
}

/// All of them, in the order in which they are written.
pub const FORMATS: &[Format] = &[
    Format {
        name: "yaml",
        file: "report.yaml",
        about: "programs",
        render: Render::Fallible(|record| Ok(yaml::report(record)?)),
    },
    Format {
        name: "normalised",
        file: "report.normalised.yaml",
        about: "snapshots: the same for every good run",
        render: Render::Fallible(|record| Ok(yaml::normalised(record)?)),
    },
    Format {
        name: "junit",
        file: "junit.xml",
        about: "CI systems",
        render: Render::Fallible(|record| Ok(junit::report(record)?)),
    },
    Format {
        name: "markdown",
        file: "report.md",
        about: "$GITHUB_STEP_SUMMARY, issues",
        render: Render::Text(markdown::report),
    },
    Format {
        name: "github",
        file: "annotations.txt",
        about: "annotations on a pull request",
        render: Render::Text(annotations),
    },
    Format {
        name: "terminal",
        file: "report.txt",
        about: "people with a terminal",
        render: Render::Text(terminal::table),
    },
    Format {
        name: "html",
        file: "report.html",
        about: "people with a browser",
        render: Render::Fallible(|record| Ok(html::report(record)?)),
    },
    Format { name: "maps", file: "maps/", about: "what each node's maps held", render: Render::Folder(maps::texts) },
];

fn annotations(record: &RunRecord) -> String {
    github::annotations(record).into_iter().map(|line| line + "\n").collect()
}

impl Format {
    /// The format called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// The files of this report by their path in a run's folder.
    pub fn files(&self, record: &RunRecord) -> Result<BTreeMap<String, String>, FormatError> {
        let one = |text: String| BTreeMap::from([(self.file.to_owned(), text)]);
        match self.render {
            Render::Text(render) => Ok(one(render(record))),
            Render::Fallible(render) => {
                render(record).map(one).map_err(|source| FormatError { format: self.name, source })
            }
            Render::Folder(render) => {
                Ok(render(record).into_iter().map(|(path, text)| (format!("{}{path}", self.file), text)).collect())
            }
        }
    }
}

/// The files of all reports by their path in a run's folder.
pub fn all(record: &RunRecord) -> Result<BTreeMap<String, String>, FormatError> {
    let mut files = BTreeMap::new();
    for format in FORMATS {
        files.extend(format.files(record)?);
    }
    Ok(files)
}
