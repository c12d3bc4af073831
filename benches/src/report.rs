//! The generated part of BENCHMARKS.md. What is above and below of it is written by hand and stays.

use std::fs;

use crate::{
    record::{self, Directories, Record},
    table::{self, Table},
    units::Unit,
    units::digits,
};

const BEGIN: &str = "<!-- generated: begin -->";
const END: &str = "<!-- generated: end -->";

/// Puts a run into BENCHMARKS.md.
///
/// # Errors
/// The file cannot be read or written, or it has no marks.
pub(crate) fn refresh(directories: &Directories, record: &Record) -> Result<(), String> {
    let path = directories.report();
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = replace(&text, &generated(record)).map_err(|what| format!("{}: {what}", path.display()))?;
    record::write(&path, &text)
}

fn replace(text: &str, generated: &str) -> Result<String, String> {
    let missing = || format!("the marks `{BEGIN}` and `{END}` are not there, one after the other");
    let (above, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, below) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{above}{BEGIN}\n\n{generated}\n{END}{below}"))
}

fn generated(record: &Record) -> String {
    let mut parts = vec![
        "### All rows\n\nThe ratio is to the best peer, or to the floor where no peer takes part.\n"
            .to_owned(),
        table::summary(record).markdown(),
        machine(record).markdown(),
        table::systems(record).markdown(),
    ];
    for scenario in &record.scenarios {
        let chart = format!("![{}](benches/charts/{}.svg)\n", scenario.title, scenario.name);
        let workload = first_upper(scenario.workload.trim_end_matches('.'));
        let text = format!("### {}\n\n{workload}.\n", first_upper(&scenario.title));
        parts.extend([text, table::results(scenario, record.quick).markdown(), chart]);
    }
    parts.join("\n")
}

/// What it was measured on, and with.
pub(crate) fn machine(record: &Record) -> Table {
    let machine = &record.machine;
    let busy = if machine.is_busy() {
        ", so that something else was running: a build just before, perhaps"
    } else {
        ""
    };
    // The time of a run is known at its end.
    let took = if record.seconds > 0.0 { Unit::Seconds.show(record.seconds) } else { String::new() };
    let mut table = Table::new(&["", "of the run"]);
    for (name, value) in [
        ("date", record.time.clone()),
        (
            "command",
            ["cargo xtask bench"]
                .into_iter()
                .chain(record.arguments.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(" "),
        ),
        ("took", took),
        ("processor", format!("{}, {} cores", machine.processor, machine.cores)),
        ("memory", Unit::Bytes.show(machine.memory as f64)),
        ("system", machine.system.clone()),
        ("load at the start", machine.load.map(|load| format!("{}{busy}", digits(load))).unwrap_or_default()),
        ("Rust", machine.rustc.clone()),
        ("Abyme's commit", machine.commit.clone()),
        ("`python3`", machine.python.clone()),
    ] {
        if !value.is_empty() {
            table.row(vec![name.to_owned(), value]);
        }
    }
    table
}

fn first_upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        Kind, Point,
        tests::{record, row, scenario},
    };

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = format!("By hand.\n\n{BEGIN}\nold\n{END}\n\nBelow.\n");
        let once = replace(&text, "new\n").unwrap();
        assert_eq!(once, format!("By hand.\n\n{BEGIN}\n\nnew\n\n{END}\n\nBelow.\n"));
        assert_eq!(replace(&once, "new\n").unwrap(), once);
        assert!(replace("By hand.", "new").unwrap_err().contains("generated: begin"));
        assert!(replace(&format!("{END}\n{BEGIN}"), "new").is_err());
    }

    #[test]
    fn the_machine_and_every_scenario_are_there() {
        let rows = vec![row("wasm", Kind::Backend, &[0.001])];
        let text = generated(&record(vec![scenario(Unit::Seconds, vec![Point { at: None, rows }])]));
        for part in [
            "| date | 2026-11-20T18:30:00Z |",
            "| command | cargo xtask bench --peers |",
            "| docker | backend |  | no engine answers |",
            "| cell | wasm | 1.00 ms |",
            "### Cell round trip\n\nOne more cell.\n\n| system |",
            "![cell round trip](benches/charts/cell.svg)",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_file_of_the_workspace_can_be_refreshed() {
        let text = fs::read_to_string(Directories::of_workspace().report()).unwrap();
        assert!(replace(&text, "").is_ok());
    }
}
