//! `kthena get`.

use std::process::ExitCode;

use anyhow::Result;
use jiff::Timestamp;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::Target;
use serde_json::{Value, json};

use super::view::{self, Columns};
use super::{Connection, Kind, Output, block_on, say, typed};

const EXAMPLES: &str = "\
Examples:
  kthena get modelservings                 those of the kubeconfig's namespace
  kthena get ms -A -o wide                 of all namespaces, with what each waits for
  kthena get ms llama -o yaml
  kthena get ms -l team=search -o name
  kthena get ms --kubeconfig \"$(kthena local kubeconfig)\"";

/// Flags of `kthena get`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to list
    kind: Kind,
    /// One of them; without it, all
    name: Option<String>,
    /// Look in all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    all_namespaces: bool,
    /// Only those whose labels match
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    /// Print objects, names, or more columns
    #[arg(short, long)]
    output: Option<Output>,
    #[command(flatten)]
    connection: Connection,
}

/// Lists objects.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    block_on(async {
        let session = args.connection.open().await?;
        let objects = if let Some(name) = &args.name {
            vec![session.serving(name).await?]
        } else {
            let target = Target::of::<ModelServing>();
            session
                .list(&target, args.all_namespaces, &args.selector)
                .await?
        };
        let objects: Vec<Value> = objects.into_iter().map(typed).collect();
        say(&text(args, objects)?)?;
        Ok(ExitCode::SUCCESS)
    })
}

fn text(args: &Args, objects: Vec<Value>) -> Result<String> {
    // One object by name is printed as it is, several as a list.
    let whole = |mut objects: Vec<Value>| {
        if args.name.is_some() {
            objects.pop().unwrap_or_default()
        } else {
            json!({ "apiVersion": "v1", "kind": "List", "items": objects })
        }
    };
    let is_wide = match args.output {
        Some(Output::Json) => return Ok(format!("{:#}\n", whole(objects))),
        Some(Output::Yaml) => return Ok(serde_yaml_ng::to_string(&whole(objects))?),
        Some(Output::Name) => {
            let mut names = String::new();
            for name in objects
                .iter()
                .filter_map(|one| one["metadata"]["name"].as_str())
            {
                names.extend(["modelserving.workload.serving.volcano.sh/", name, "\n"]);
            }
            return Ok(names);
        }
        Some(Output::Wide) => true,
        None => false,
    };
    if objects.is_empty() {
        return Ok("No resources found.\n".to_owned());
    }
    let servings: Vec<ModelServing> = objects
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()?;
    let columns = Columns {
        has_namespace: args.all_namespaces,
        is_wide,
    };
    Ok(view::table(&servings, columns, Timestamp::now()))
}
