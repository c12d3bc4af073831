//! `abyme "question" FILES...`: a question about files, and an answer with its sources.

mod answer;
mod urls;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    sync::Arc,
};

use abyme::{Field, FieldType, Prediction, TrajectoryWriter, Value};
use abyme_files::{Given, LineKind, Loaded, Loader};
use indexmap::IndexMap;

pub(crate) use self::answer::Answer;
use self::answer::Form;
use crate::{
    args::{AskArgs, LoadArgs},
    exit::{Exit, Failure},
    files, output,
    rlm::{self, Described},
    run::schema,
    running::Running,
    standard::Standard,
    terminal,
};

/// The output that is the answer.
const ANSWER: &str = "answer";
/// The output that becomes a table.
const ROWS: &str = "rows";

pub(crate) async fn run(args: AskArgs, standard: &Standard) -> Result<Exit, Failure> {
    // Everything is checked before anything costs time or money.
    let form = args.question.output.as_deref().map(Form::of).transpose()?;
    let outputs = outputs(&args, form)?;
    let (question, names) = split(&args, &args.question.load.loader())?;
    let loaded = load(names, &args.question.load, standard).await?;
    check_written(&loaded, &args)?;
    let signature = loaded.signature(outputs).map_err(|error| Failure::before_run(&error))?;
    let Described { mut builder, factory, wrapped } =
        rlm::described(&args.rlm, &signature, loaded.text_bytes(), 1).await?;
    builder = builder.tools(loaded.tools());
    let rlm = rlm::seeded(builder, &args.rlm, args.trace.is_some())
        .build()
        .map_err(|error| Failure::before_run(&error))?;
    // After all checks, so that an error on the command line does not cost an earlier trace.
    let trace = args.trace.as_deref().map(TrajectoryWriter::create).transpose();
    let trace = trace.map_err(|error| Failure::before_run(&error))?.map(Arc::new);
    let interpreter = factory.name();
    let running = Running {
        json: args.json,
        verbose: args.rlm.verbose,
        asks: args.rlm.asks_before_tools().then_some(standard),
        interpreter,
        trace: args.trace.clone().zip(trace),
        wrapped,
    };
    let print = |prediction: &Prediction, seconds: f64| {
        let answer = answer(prediction, &loaded);
        // The file is written first, in case stdout is closed.
        let written = match (&args.question.output, form) {
            (Some(path), Some(form)) => answer.write(path, form),
            _ => Ok(()),
        };
        let trace = args.trace.as_deref();
        print(&answer, args.json.then(|| output::fields(prediction, seconds, interpreter, trace)), standard)?;
        written
    };
    let progress = Arc::new(running.progress(standard));
    running.finish_with(rlm.run(loaded.inputs(question)), progress, print).await
}

/// The answer with its sources. Those that were not found are said.
pub(crate) fn answer(prediction: &Prediction, loaded: &Loaded) -> Answer {
    let answer = Answer::new(prediction.outputs(), loaded);
    for missing in answer.missing() {
        terminal::say(&format!("abyme: warning: a source was not found: {missing}"));
    }
    answer
}

/// Prints an answer, or else these fields of JSON with its sources.
pub(crate) fn print(
    answer: &Answer,
    json: Option<IndexMap<String, Value>>,
    standard: &Standard,
) -> Result<(), Failure> {
    match json {
        Some(mut fields) => {
            fields.insert("sources".to_owned(), answer.sources());
            standard.write(&output::line(fields))
        }
        None => standard.write(&answer.plain()),
    }
}

/// What is to be submitted, beside the sources.
fn outputs(args: &AskArgs, form: Option<Form>) -> Result<Vec<Field>, Failure> {
    if let Some(path) = &args.question.schema {
        return schema::outputs_of(path);
    }
    let answer = Field::new(ANSWER, FieldType::Str);
    Ok(match form {
        Some(Form::Csv) => {
            let row = FieldType::Dict(Box::new(FieldType::Str), Box::new(FieldType::Any));
            let rows = Field::new(ROWS, FieldType::List(Box::new(row))).with_description(
                "The answer as the rows of a table, all with the same keys, for a CSV file",
            );
            vec![answer.with_description("The answer in a sentence or two"), rows]
        }
        Some(Form::Markdown) => vec![answer.with_description("The answer, in Markdown")],
        Some(Form::Json) | None => vec![answer],
    })
}

/// The question, and the names of files.
fn split(args: &AskArgs, loader: &Loader) -> Result<(String, Vec<OsString>), Failure> {
    let is_file = |word: &&OsString| loader.is_file(word) || args.question.load.urls && urls::is_url(word);
    let (files, others): (Vec<&OsString>, Vec<_>) = args.question.words.iter().partition(is_file);
    let usage = "as in abyme \"which plan has the most refunds?\" shop.db reports/";
    let shown = |word: &OsStr| format!("`{}`", word.to_string_lossy());
    match others[..] {
        [] => Err(Failure::usage("the question is missing: every word is a file").hint(usage)),
        [question] if files.is_empty() => {
            let message = format!("which files is {} about? none is named", shown(question));
            Err(Failure::usage(message).hint(usage))
        }
        [question] => {
            let text = question.to_str().filter(|text| !text.trim().is_empty());
            let text = text.ok_or_else(|| Failure::usage("the question is empty, or no UTF-8"))?;
            Ok((text.to_owned(), files.into_iter().cloned().collect()))
        }
        _ => {
            let words: Vec<_> = others.iter().map(|word| shown(word)).collect();
            let words = words.join(", ");
            let message = format!("one of these is the question, and the others are no files: {words}");
            let hint = match others.iter().any(|word| urls::is_url(word)) {
                true => "--urls fetches what a URL names",
                false => "a question is one argument, in quotes",
            };
            Err(Failure::usage(message).hint(hint))
        }
    }
}

/// Loads the files, and says what was loaded.
pub(crate) async fn load(
    names: Vec<OsString>,
    args: &LoadArgs,
    standard: &Standard,
) -> Result<Loaded, Failure> {
    let loader = args.loader();
    let mut given = Vec::new();
    let mut stdin = Some(standard.input());
    for name in names {
        match stdin.take_if(|_| name == "-") {
            Some(stdin) => given.push(Given::stream("stdin", stdin)),
            None if args.urls && urls::is_url(&name) => {
                let url = name.to_string_lossy();
                let shown = urls::shown(&url);
                match urls::fetch(&url, args.max_files_mb << 20).await {
                    Ok(body) => given.push(Given::stream(shown, std::io::Cursor::new(body))),
                    Err(problem) => terminal::say(&format!("abyme: warning: {shown}: {problem}")),
                }
            }
            None if name == "-" => {}
            None => given.push(name.into()),
        }
    }
    let loaded = tokio::task::spawn_blocking(move || loader.load(given)).await;
    let loaded = loaded.map_err(|error| Failure::new(Exit::Failed, format!("cannot load files: {error}")))?;
    for line in loaded.report() {
        match line.kind {
            LineKind::Loaded => terminal::say(&format!("loaded {line}")),
            _ => terminal::say(&format!("abyme: warning: {line}")),
        }
    }
    if loaded.is_empty() {
        return Err(Failure::usage("none of the files could be loaded: there is nothing to ask about"));
    }
    Ok(loaded)
}

/// What is written replaces a file of its name, which must not be one that is read or written for another
/// flag, and has to have a directory.
fn check_written(loaded: &Loaded, args: &AskArgs) -> Result<(), Failure> {
    let written = [
        ("--output", args.question.output.as_deref()),
        ("--trace", args.trace.as_deref()),
        ("--record", args.rlm.wrap.record.as_deref()),
    ];
    for (flag, path) in written {
        let directory = path.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            return Err(Failure::usage(format!("{flag}: there is no directory `{}`", directory.display())));
        }
    }
    let read = loaded.paths().chain(args.rlm.read_files()).chain(args.question.schema.as_deref());
    files::check_written(written, read)
}
