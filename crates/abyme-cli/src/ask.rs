//! `abyme "question" FILES...`: a question about files, and an answer with its sources.

mod answer;
mod urls;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    sync::Arc,
};

use abyme::{Field, FieldType, Prediction, TrajectoryWriter};
use abyme_files::{Given, LineKind, Loaded, Loader};

use self::answer::{Answer, Form};
use crate::{
    args::AskArgs,
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
    let loader = Loader::new()
        .hidden(args.question.hidden)
        .ignored(args.question.no_ignore)
        .max_files(args.question.max_files)
        .max_total_bytes(args.question.max_files_mb << 20);
    let (question, names) = split(&args, &loader)?;
    let loaded = load(loader, names, &args, standard).await?;
    for (flag, path) in
        [("--output", &args.question.output), ("--trace", &args.trace), ("--record", &args.rlm.wrap.record)]
    {
        check_written(flag, path.as_deref(), &loaded, &args)?;
    }
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
        interpreter,
        trace: args.trace.clone().zip(trace),
        wrapped,
    };
    let print = |prediction: &Prediction, seconds: f64| {
        let answer = Answer::new(prediction.outputs(), &loaded);
        for missing in answer.missing() {
            terminal::say(&format!("abyme: warning: a source was not found: {missing}"));
        }
        // First what a closed stdout would cost.
        let written = match (&args.question.output, form) {
            (Some(path), Some(form)) => answer.write(path, form),
            _ => Ok(()),
        };
        if args.json {
            let mut fields = output::fields(prediction, seconds, interpreter, args.trace.as_deref());
            fields.insert("sources".to_owned(), answer.sources());
            standard.write(&output::line(fields))?;
        } else {
            standard.write(&answer.plain())?;
        }
        written
    };
    let progress = Arc::new(running.progress());
    running.finish_with(rlm.run(loaded.inputs(question)), progress, print).await
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
    let is_file = |word: &&OsString| loader.is_file(word) || args.question.urls && urls::is_url(word);
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
async fn load(
    loader: Loader,
    names: Vec<OsString>,
    args: &AskArgs,
    standard: &Standard,
) -> Result<Loaded, Failure> {
    let mut given = Vec::new();
    let mut stdin = Some(standard.input());
    for name in names {
        match stdin.take_if(|_| name == "-") {
            Some(stdin) => given.push(Given::stream("stdin", stdin)),
            None if args.question.urls && urls::is_url(&name) => {
                let url = name.to_string_lossy();
                let shown = urls::shown(&url);
                match urls::fetch(&url, args.question.max_files_mb << 20).await {
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

/// What is written replaces a file of its name, which must not be one that is read, and has to have a
/// directory.
fn check_written(flag: &str, path: Option<&Path>, loaded: &Loaded, args: &AskArgs) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Failure::usage(format!("{flag}: there is no directory `{}`", directory.display())));
    }
    let read = loaded.paths().chain(args.rlm.read_files()).chain(args.question.schema.as_deref());
    files::check_written(flag, Some(path), read)
}
