//! `kthena get`.

use std::pin::pin;
use std::process::ExitCode;

use anyhow::Result;
use futures::StreamExt;
use jiff::Timestamp;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::{Change, Scope, Target, watch};
use serde_json::{Value, json};

use super::table::Table;
use super::view::{self, Columns};
use super::{Connection, Kind, Output, Session, block_on, say, tell, typed};

const EXAMPLES: &str = "\
Examples:
  kthena get modelservings                 those of the kubeconfig's namespace
  kthena get ms -A -o wide                 of all namespaces, with what each waits for
  kthena get ms llama -o yaml
  kthena get ms -l team=search -o name
  kthena get ms llama -w                   and a line for every change, until Ctrl-C
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
    /// Go on with every change
    #[arg(short, long)]
    watch: bool,
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
        if args.watch {
            follow(args, &session, objects).await?;
        } else {
            say(&text(args, objects)?)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints what there is and then each change of it, until nobody listens.
async fn follow(args: &Args, session: &Session, objects: Vec<Value>) -> Result<()> {
    let columns = args.columns();
    let mut table = Table::new(&view::header(columns));
    let is_table = matches!(args.output, None | Some(Output::Wide));
    let mut shown = Vec::new();
    for object in &objects {
        let serving: ModelServing = serde_json::from_value(object.clone())?;
        table.row(view::row(&serving, columns, Timestamp::now()));
        shown.push(stamp(&serving));
    }
    let begin = if is_table {
        table.text("")
    } else {
        let each = objects.into_iter().map(|object| one(args, object));
        each.collect::<Result<_>>()?
    };
    if !tell(&begin)? {
        return Ok(());
    }
    let scope = Scope {
        namespace: (!args.all_namespaces).then(|| session.namespace.clone()),
        labels: (!args.selector.is_empty()).then(|| args.selector.clone()),
        fields: args
            .name
            .as_ref()
            .map(|name| format!("metadata.name={name}")),
    };
    let mut changes = pin!(watch::<ModelServing>(session.client.clone(), &scope));
    while let Some(change) = changes.next().await {
        let (Change::Applied(serving) | Change::Deleted(serving)) = &change else {
            continue;
        };
        // The watch begins with what was printed already.
        if matches!(change, Change::Applied(_)) && shown.contains(&stamp(serving)) {
            continue;
        }
        let text = if is_table {
            table.one_more(&view::row(serving, columns, Timestamp::now()))
        } else {
            one(args, typed(serde_json::to_value(serving)?))?
        };
        if !tell(&text)? {
            break;
        }
    }
    Ok(())
}

/// Tells two forms of an object apart.
fn stamp(serving: &ModelServing) -> (Option<String>, Option<String>) {
    let metadata = &serving.metadata;
    (metadata.uid.clone(), metadata.resource_version.clone())
}

/// One object of several, as it is printed on its own.
fn one(args: &Args, object: Value) -> Result<String> {
    Ok(match args.output {
        Some(Output::Json) => format!("{object:#}\n"),
        Some(Output::Yaml) => format!("---\n{}", serde_yaml_ng::to_string(&object)?),
        _ => text(args, vec![object])?,
    })
}

impl Args {
    fn columns(&self) -> Columns {
        Columns {
            has_namespace: self.all_namespaces,
            is_wide: self.output == Some(Output::Wide),
        }
    }
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
    match args.output {
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
        Some(Output::Wide) | None => {}
    }
    if objects.is_empty() {
        return Ok("No resources found.\n".to_owned());
    }
    let servings: Vec<ModelServing> = objects
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()?;
    Ok(view::table(&servings, args.columns(), Timestamp::now()))
}
