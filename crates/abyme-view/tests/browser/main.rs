//! The page in a real browser, with records of real runs: what it shows, what it lets in, and how it is used.
//!
//! Needs Debian's `chromium`, and axe-core from npm under `target/npm`. Without them the tests show as
//! ignored with the command that installs them; with `chromium` in `ABYME_REQUIRE` they fail then. Pictures
//! of the page are left in `target/tmp/view`.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers included"
)]

// What `#[tool]` writes names the facade.
extern crate abyme_core as abyme;

mod chrome;
mod records;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use abyme_conformance::prerequisite::{is_required, note_ignored};
use abyme_core::Trajectory;
use abyme_view::{Follow, Page, RunFigures};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::{
    chrome::Chrome,
    records::{HOSTILE, left, long, rich, rich_with},
};

/// What `ABYME_REQUIRE` calls the browser.
const NAME: &str = "chromium";
/// The version of axe-core.
const AXE: &str = "axe-core@4.14.1";

fn main() -> ExitCode {
    let tests: [(&str, fn()); 8] = [
        ("a_run_is_shown_with_its_figures", a_run_is_shown_with_its_figures),
        ("what_is_set_aside_counts_and_is_not_shown", what_is_set_aside_counts_and_is_not_shown),
        ("nothing_that_a_run_holds_is_markup", nothing_that_a_run_holds_is_markup),
        ("keys_search_and_links_lead_there", keys_search_and_links_lead_there),
        ("a_long_run_is_in_the_document_in_part", a_long_run_is_in_the_document_in_part),
        ("two_runs_are_side_by_side", two_runs_are_side_by_side),
        ("a_run_is_followed_to_its_end", a_run_is_followed_to_its_end),
        ("axe_finds_nothing", axe_finds_nothing),
    ];
    let obstacle = obstacle();
    let trials = tests.into_iter().map(|(name, test)| match &obstacle {
        None => Trial::test(name, move || {
            test();
            Ok(())
        }),
        Some(reason) if is_required(NAME) => {
            let reason = reason.clone();
            Trial::test(name, || Err(Failed::from(reason)))
        }
        Some(reason) => {
            note_ignored(NAME, reason);
            Trial::test(name, || Ok(())).with_ignored_flag(true).with_kind("no browser")
        }
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Why the tests cannot run here.
fn obstacle() -> Option<String> {
    if chrome::program().is_none() {
        return Some("no browser; `apt-get install --no-install-recommends chromium`".to_owned());
    }
    let directory = target().join("npm");
    (!axe().is_file()).then(|| format!("no axe-core; `npm install --prefix {} {AXE}`", directory.display()))
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

fn axe() -> PathBuf {
    target().join("npm/node_modules/axe-core/axe.min.js")
}

/// Where the pages and pictures of a test are.
fn path_of(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("view");
    fs::create_dir_all(&directory).unwrap();
    directory.join(name)
}

fn written(name: &str, page: &Page<'_>) -> PathBuf {
    let path = path_of(&format!("{name}.html"));
    fs::write(&path, page.render().html).unwrap();
    path
}

/// Opens the page of a record.
fn shown(name: &str, record: &Trajectory) -> (Chrome, PathBuf) {
    let path = written(name, &Page::new().record(format!("{name}.jsonl"), record));
    let mut chrome = Chrome::start();
    chrome.open_file(&path, "");
    (chrome, path)
}

fn a_run_is_shown_with_its_figures() {
    let record = rich();
    let (mut chrome, path) = shown("rich", &record);
    let figures = RunFigures::of("rich.jsonl", &record);
    assert_eq!((figures.turns, figures.children, figures.status.as_str()), (5, 2, "submitted"));

    // The page and the table count alike.
    let page = chrome.get("abyme.figures()")[0].clone();
    assert_eq!(page["turns"], figures.turns);
    assert_eq!(page["subCalls"], figures.sub_calls);
    assert_eq!(page["children"], figures.children);
    assert_eq!(page["used"]["input_tokens"], figures.input_tokens.unwrap());
    assert_eq!(page["used"]["cached_tokens"], figures.cached_tokens.unwrap());
    assert_eq!(page["used"]["output_tokens"], figures.output_tokens.unwrap());
    assert_eq!(page["used"]["reasoning_tokens"], figures.reasoning_tokens.unwrap());
    let near = |name: &str, value: f64, expected: f64| {
        assert!((value - expected).abs() < 2e-3, "{name}: {value} and {expected}");
    };
    near("cost", page["used"]["cost"].as_f64().unwrap(), figures.cost.unwrap());
    let of_split = |name: &str| page["split"][name].as_f64().unwrap();
    near("wall", of_split("wall"), figures.wall_seconds);
    near("model", of_split("model"), figures.model_seconds);
    near("python", of_split("python"), figures.python_seconds);
    near("calls", of_split("calls"), figures.call_seconds);

    for (place, expected) in [
        ("[data-key=turn-1]", "lines = docs.splitlines()"),
        ("[data-key=turn-1] .code .keyword", ""),
        ("[data-key=turn-1] .code .builtin", "print"),
        ("[data-key=turn-1]", "500 lines"),
        ("[data-key=turn-2] .call-list h3", "30 sub-calls"),
        ("[data-key=turn-3] .block.wrong", "KeyError: 'plan'"),
        ("[data-key=turn-3] .line.wrong", "{}['plan']"),
        ("[data-key=turn-3] .call-list h3", "1 tool call"),
        ("[data-key=turn-4] .call-list h3", "2 children"),
        ("[data-key=turn-4] .gone", "characters were not kept"),
        ("[data-key=end]", "submitted"),
        ("nav.outline", "turn"),
    ] {
        let text = chrome.text(place);
        assert!(place == "nav.outline" || text.contains(expected), "{place} has no {expected:?}: {text}");
    }
    assert_eq!(chrome.count("nav.outline .row.turn"), 5);
    assert_eq!(chrome.count("nav.outline .row.run"), 3);

    // A link to a call opens it, and one to a child leads to its turns.
    let call = chrome.get("abyme.roots()[0].byNumber.get(2).calls[6].number");
    chrome.open_file(&path, &format!("#turn-2/call-{call}"));
    assert!(chrome.text("article.call").contains("Line 6: a line"), "{}", chrome.text("article.call"));
    assert!(chrome.text("article.call").contains("no: </script>"));
    chrome.open_file(&path, "#turn-4");
    chrome.click("[data-key=turn-4] .call-list button.row");
    chrome.click("article.call a.open");
    assert!(chrome.text("[data-key=turn-1]").contains("Is it here?"), "{}", chrome.text("main"));
    assert!(chrome.text(".crumbs").contains("turn 4"));
    assert_eq!(chrome.problems(), [""; 0]);

    for (name, width, is_dark, at) in [
        ("light", 1280, false, "#turn-2"),
        ("dark", 1280, true, "#turn-3"),
        ("narrow-light", 390, false, ""),
        ("narrow-dark", 390, true, "#turn-2"),
    ] {
        chrome.window(width, 900, is_dark);
        chrome.open_file(&path, at);
        chrome.picture(&path_of(&format!("{name}.png")));
        let is_wide = chrome.get("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(is_wide, false, "{name} is wider than its window");
    }
}

fn nothing_that_a_run_holds_is_markup() {
    let (mut chrome, path) = shown("hostile", &rich());
    let run = chrome.get("abyme.roots()[0].children[0].key");
    let run = run.as_str().unwrap();
    for at in ["", "#turn-2/call-1", "#turn-4", "#end", &format!("#{run}/turn-1")] {
        chrome.open_file(&path, at);
        // Everything that is folded, too.
        chrome.get("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
        chrome.get("document.querySelectorAll('button.unfold').forEach((one) => one.click())");
        chrome.settle();
        assert!(chrome.text("main").contains("</script><script>globalThis.hacked=1</script>"), "{at}");
        assert_eq!(chrome.count("script"), 2, "{at}");
        assert_eq!(chrome.count("main img, main iframe, main object, [onclick], [onerror]"), 0, "{at}");
        assert_eq!(chrome.get("typeof hacked"), "undefined", "{at}");
    }
    assert!(chrome.get("document.title").as_str().unwrap().starts_with("refunds </script>"));
    assert_eq!(chrome.get("abyme.roots()[0].ended.outputs.answer"), HOSTILE);
    // What a page could be made to run is kept from running.
    chrome.get(
        "const script = document.createElement('script'); script.textContent = 'globalThis.hacked = 4';\
                document.body.append(script)",
    );
    chrome.get("fetch('http://127.0.0.1:9/').then(() => { globalThis.hacked = 5; }, () => 0)");
    assert_eq!(chrome.get("typeof hacked"), "undefined");
    let problems = chrome.problems().join("\n");
    assert!(problems.contains("script-src") && problems.contains("default-src"), "{problems}");
}

fn keys_search_and_links_lead_there() {
    let (mut chrome, _) = shown("keys", &rich());
    let at = "location.hash";
    for (key, expected) in
        [("j", "#turn-1"), ("j", "#turn-2"), ("k", "#turn-1"), ("G", "#end"), ("g", "#task")]
    {
        chrome.press(key);
        chrome.settle();
        assert_eq!(chrome.get(at), expected, "after {key}");
    }
    assert_eq!(chrome.text("nav [aria-current]"), "keys.jsonl");
    // `]` goes into a child, `[` back.
    chrome.press("]");
    chrome.settle();
    assert!(chrome.get(at).as_str().unwrap().ends_with("/task"));
    chrome.press("[");
    chrome.settle();
    assert_eq!(chrome.get(at), "#turn-4");

    chrome.press("/");
    chrome.write("long line");
    assert_eq!(chrome.text(".search output"), "2");
    chrome.press("Enter");
    chrome.settle();
    assert_eq!(chrome.get(at), "#turn-4");
    assert_eq!(chrome.text("nav .hit[aria-current] .where"), "turn 4, code");
    chrome.press("Enter");
    chrome.settle();
    assert_eq!(chrome.text("nav .hit[aria-current] .where"), "turn 4, output");
    assert!(chrome.get("CSS.highlights.get('found').size").as_u64().unwrap() >= 2);
    // A hit in a call opens the call.
    chrome.get("abyme.input.value = 'Line 29:'; abyme.search()");
    chrome.get("abyme.nextHit(1)");
    chrome.settle();
    assert!(chrome.text("article.call").contains("Line 29: a line"), "{}", chrome.text("article.call"));
    chrome.press("Escape");
    chrome.settle();
    assert_eq!((chrome.count("nav .hit"), chrome.text(".search output").as_str()), (0, ""));

    let paper = "getComputedStyle(document.body).backgroundColor";
    let light = chrome.get(paper);
    chrome.press("t");
    assert_ne!(chrome.get(paper), light);
    chrome.press("a");
    assert_eq!(chrome.text(".axis .label"), "each turn");
    chrome.press("?");
    assert_eq!(chrome.get("document.querySelector('dialog').open"), true);
    assert_eq!(chrome.problems(), [""; 0]);
}

fn a_long_run_is_in_the_document_in_part() {
    let record = long();
    let (mut chrome, path) = shown("long", &record);
    let page = chrome.get("abyme.figures()")[0].clone();
    assert_eq!((page["turns"].as_u64(), page["subCalls"].as_u64()), (Some(1_000), Some(9_990)));
    let elements = "document.querySelectorAll('*').length";
    assert!(chrome.get(elements).as_u64().unwrap() < 4_000);
    for number in [700, 3, 998, 500] {
        chrome.open_file(&path, &format!("#turn-{number}"));
        let at = format!("[data-key=turn-{number}]");
        assert!(chrome.text(&at).contains(&format!("Step {}.", number - 1)), "{}", chrome.text(&at));
        let top = chrome.get(&format!(
            "document.querySelector('{at}').getBoundingClientRect().top - \
             document.querySelector('main').getBoundingClientRect().top"
        ));
        assert!(top.as_f64().unwrap().abs() < 3.0, "turn {number} is {top} pixels off");
        assert!(chrome.text("nav [aria-current]").starts_with(&number.to_string()));
        assert!(chrome.get(elements).as_u64().unwrap() < 8_000);
    }
    // Scrolled by hand, the outline follows.
    chrome.get("document.querySelector('main').scrollTop -= 5000");
    chrome.settle();
    chrome.settle();
    let current = chrome.get("Number(abyme.active.slice(5))").as_u64().unwrap();
    assert!((400..500).contains(&current), "{current}");
    chrome.get("abyme.input.value = 'Part 7 of 640'; abyme.search()");
    assert_eq!(chrome.get("abyme.hits.length"), 1);
    chrome.picture(&path_of("long.png"));
    assert_eq!(chrome.problems(), [""; 0]);
}

fn two_runs_are_side_by_side() {
    let (left, right) = (rich(), rich_with("lines = docs.splitlines()\nprint(len(lines))\nextra = 1"));
    let page = Page::new().record("left.jsonl", &left).record("right.jsonl", &right).side_by_side();
    let path = written("compared", &page);
    let mut chrome = Chrome::start();
    chrome.open_file(&path, "");
    let first = chrome.text("[data-key=task]");
    assert!(first.contains("The runs differ from the first turn on."), "{first}");
    assert!(first.contains("left.jsonl") && first.contains("right.jsonl"));
    let only = |side: usize| format!("[data-key=turn-1] .half:nth-child({side}) .line.only");
    assert_eq!(chrome.text(&only(1)).trim(), "print(len(lines), 'lines')");
    assert!(chrome.text(&only(2)).contains("extra = 1"), "{}", chrome.text(&only(2)));
    assert_eq!(chrome.count("section.compared"), 6, "five turns and the end");
    let page = Page::new().record("a.jsonl", &left).record("b.jsonl", &left).side_by_side();
    chrome.open_file(&written("same", &page), "#turn-2");
    assert!(chrome.text("[data-key=task]").contains("The runs are the same in every turn."));
    // A page too small for an event of one run shows the other, and one too small for both says so.
    let none = Trajectory::default();
    let page = Page::new().record("none.jsonl", &none).record("right.jsonl", &right).side_by_side();
    chrome.open_file(&written("compared-half", &page), "#turn-1");
    assert!(chrome.text("[data-key=turn-1]").contains("extra = 1"), "{}", chrome.text("main"));
    let page = Page::new().record("left.jsonl", &left).record("right.jsonl", &right).side_by_side();
    chrome.open_file(&written("compared-none", &page.max_data_bytes(1)), "");
    assert!(chrome.text("main").contains("The record is empty."), "{}", chrome.text("main"));
    assert!(chrome.text(".top .warning").contains("the page ends after 0 of"));
    chrome.window(1280, 900, false);
    chrome.open_file(&path, "#turn-1");
    chrome.picture(&path_of("compared.png"));
    assert_eq!(chrome.problems(), [""; 0]);
}

/// The page and the table agree about a run that left its record: what was set aside was paid for, and is no
/// part of the run.
fn what_is_set_aside_counts_and_is_not_shown() {
    let record = left();
    let (mut chrome, _) = shown("left", &record);
    let figures = RunFigures::of("left.jsonl", &record);
    // Three turns, one of a child, and the call for outputs.
    assert_eq!((figures.turns, figures.children, figures.input_tokens), (3, 1, Some(5_000)));
    let page = chrome.get("abyme.figures()")[0].clone();
    assert_eq!((&page["turns"], &page["children"]), (&3.into(), &1.into()));
    assert_eq!(page["used"]["input_tokens"], 5_000);
    assert!((page["used"]["cost"].as_f64().unwrap() - figures.cost.unwrap()).abs() < 1e-9, "{page}");
    assert_eq!((chrome.count("nav.outline .row.turn"), chrome.count("[data-key=end]")), (3, 1));
    assert!(chrome.text("[data-key=end]").contains("it is there"), "{}", chrome.text("[data-key=end]"));
    assert!(!chrome.text("main").contains("a guess that was set aside"), "{}", chrome.text("main"));
    assert_eq!(chrome.problems(), [""; 0]);
}

fn a_run_is_followed_to_its_end() {
    let whole = rich().to_jsonl();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.jsonl");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let follow = runtime.block_on(Follow::bind(&path, 0)).unwrap();
    let url = follow.url();
    runtime.spawn(follow.serve());

    let mut chrome = Chrome::start();
    chrome.open(&url);
    assert!(chrome.text("main").contains("Nothing is recorded yet."), "{}", chrome.text("main"));
    let upto = |count: usize| lines[..count].concat();
    // In the middle of a line, too.
    let half = lines.len() / 2;
    fs::write(&path, upto(half) + &lines[half][..20]).unwrap();
    chrome.wait_for("document.querySelector('.state')?.textContent.includes('running')");
    chrome.wait_for("abyme.roots()[0]?.turns.length >= 2");
    chrome.settle();
    assert!(chrome.text("[data-key=turn-1]").contains("lines = docs.splitlines()"));
    assert_eq!(chrome.count("[data-key=end]"), 0);
    // A page that is opened in between has what is there, once.
    chrome.open(&url);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all((lines[half][20..].to_owned() + &lines[half + 1..].concat()).as_bytes()).unwrap();
    chrome.wait_for("document.querySelector('.state')?.textContent.includes('submitted')");
    let records = chrome.get("abyme.files[0].records").as_u64().unwrap() as usize;
    assert_eq!(records, Trajectory::from_jsonl(&whole).unwrap().records().count());
    assert_eq!(chrome.count("[data-key=end]"), 1);
    assert_eq!(chrome.get("typeof hacked"), "undefined");
    // Another run in the same file begins the page anew.
    let other = directory.path().join("other.jsonl");
    fs::write(&other, rich_with("print('another run')").to_jsonl()).unwrap();
    fs::rename(other, &path).unwrap();
    chrome.wait_for("globalThis.abyme?.roots()[0]?.byNumber.get(1)?.cell?.code.includes('another run')");
    assert_eq!(chrome.problems(), [""; 0]);
}

fn axe_finds_nothing() {
    let (left, right) = (rich(), rich_with("print('other')"));
    let run = written("axe", &Page::new().record("axe.jsonl", &left));
    let both = Page::new().record("left.jsonl", &left).record("right.jsonl", &right).side_by_side();
    let both = written("axe-compared", &both);
    let empty = written("axe-empty", &Page::new().record("empty.jsonl", &Trajectory::default()));
    let axe = fs::read_to_string(axe()).unwrap();
    let mut chrome = Chrome::start();
    let places = [
        (&run, "", ""),
        (&run, "#turn-2/call-1", ""),
        (&run, "#turn-4", "document.querySelectorAll('details').forEach((one) => { one.open = true; })"),
        (&run, "#end", "abyme.input.value = 'line'; abyme.search()"),
        (&run, "", "abyme.help.showModal()"),
        (&both, "", ""),
        (&empty, "", ""),
    ];
    for (path, at, first) in places {
        // Colours go by the theme, and what is where by the width.
        for (width, is_dark) in [(1280, false), (390, true)] {
            chrome.window(width, 900, is_dark);
            chrome.open_file(path, at);
            chrome.get(first);
            chrome.settle();
            chrome.get(&format!("{axe};0"));
            let found = chrome.get(
                "axe.run(document, {resultTypes: ['violations']}).then((found) =>
                     found.violations.map((one) => one.id + ': ' +
                         one.nodes.map((node) => node.target + ' ' + node.failureSummary).join('; ')))",
            );
            assert_eq!(found, serde_json::json!([]), "{at} at {width}, dark: {is_dark}");
        }
    }
}
