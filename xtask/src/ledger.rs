//! The conformance ledger: `docs/conformance.md` and the tests that it names are of one mind.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{ci, workspace};

/// Where tests that carry ids lie.
const FOLDERS: [&str; 4] = ["agent", "agent-core", "agent-wire", "tests"];
/// A test says what it shows in a line of its documentation: the ids, then the polarity in brackets.
const MARK: &str = "/// Ledger:";
/// Instead of tests a cell may give a reason after one of these words; a dash follows a reason that says all.
const REASONS: [&str; 3] = ["gap: ", "deviation: ", "not applicable: "];
const SAID: &str = "–";

/// Fails when the ledger and the tests of this tree contradict each other.
pub(crate) fn check() -> Result<()> {
    let path = workspace::root().join("docs/conformance.md");
    let ledger = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut tests = Tests::default();
    for folder in FOLDERS {
        for file in ci::sources(&workspace::root().join(folder))? {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            tests.read(&text, file);
        }
    }
    let problems = compare(&ledger, &tests);
    if !problems.is_empty() {
        bail!("docs/conformance.md and the tests differ:\n{}", problems.join("\n"));
    }
    Ok(())
}

/// The tests of the tree by name, each with what its `Ledger:` lines say.
#[derive(Default)]
struct Tests {
    by_name: BTreeMap<String, Vec<Claim>>,
    problems: Vec<String>,
}

/// A test says that it shows one polarity of one requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    id: String,
    polarity: Polarity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Polarity {
    /// What is demanded is done.
    Positive,
    /// What is forbidden is refused.
    Negative,
}

impl Tests {
    fn read(&mut self, source: &str, file: PathBuf) {
        let mut claims = Vec::new();
        let mut is_test = false;
        for (index, line) in source.lines().map(str::trim).enumerate() {
            if let Some(text) = line.strip_prefix(MARK) {
                match claims_of(text) {
                    Some(found) => claims.extend(found),
                    None => self.problems.push(format!("{}:{}: not `IDS (positive)`", file.display(), index + 1)),
                }
            } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if !line.starts_with("///") && !line.starts_with("#[") {
                match name_of_function(line) {
                    Some(name) if is_test => {
                        self.by_name.entry(name.to_owned()).or_default().append(&mut claims);
                    }
                    _ if !claims.is_empty() => {
                        self.problems.push(format!("{}:{}: Ledger line without a test", file.display(), index + 1));
                    }
                    _ => {}
                }
                claims.clear();
                is_test = false;
            }
        }
    }
}

/// Reads `RFC9568-7.1-1, RFC5798-7.1-1 (negative)`.
fn claims_of(text: &str) -> Option<Vec<Claim>> {
    let (ids, polarity) = text.trim().strip_suffix(')')?.rsplit_once('(')?;
    let polarity = match polarity {
        "positive" => Polarity::Positive,
        "negative" => Polarity::Negative,
        _ => return None,
    };
    ids.split(',').map(|id| Some(Claim { id: id_of(id)?.to_owned(), polarity })).collect()
}

fn id_of(text: &str) -> Option<&str> {
    let id = text.trim();
    let mut parts = id.split('-');
    let (rfc, section, ordinal) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let sound = parts.next().is_none()
        && rfc.strip_prefix("RFC").is_some_and(digits)
        && section.split('.').all(digits)
        && digits(ordinal);
    sound.then_some(id)
}

fn name_of_function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split('(').next()
}

/// One requirement of the ledger.
struct Row<'a> {
    id: &'a str,
    positive: &'a str,
    negative: &'a str,
}

/// Every row of a table that begins with an id: id, level, requirement, positive, negative.
fn rows<'a>(ledger: &'a str, problems: &mut Vec<String>) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for line in ledger.lines().filter(|line| line.starts_with("| RFC")) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [id, _level, _requirement, positive, negative] = cells.as_slice() else {
            problems.push(format!("a row of {} cells instead of 5: {line}", cells.len()));
            continue;
        };
        if id_of(id).is_none() {
            problems.push(format!("{id} is not an id such as RFC9568-6.4.2-3"));
        }
        if rows.iter().any(|row| row.id == *id) {
            problems.push(format!("{id} stands there twice"));
        }
        rows.push(Row { id, positive, negative });
    }
    rows
}

/// The names between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn is_reason(cell: &str) -> bool {
    REASONS.iter().any(|word| cell.strip_prefix(word).is_some_and(|reason| !reason.trim().is_empty()))
}

/// Everything in which the ledger and the tests differ, one line each.
fn compare(ledger: &str, tests: &Tests) -> Vec<String> {
    let mut problems = tests.problems.clone();
    let rows = rows(ledger, &mut problems);
    if rows.is_empty() {
        problems.push("the ledger has no row".to_owned());
    }
    for row in &rows {
        for cell in [row.positive, row.negative] {
            if cell == SAID && is_reason(row.positive) {
                continue;
            }
            if names(cell).next().is_none() && !is_reason(cell) {
                problems.push(format!("{}: `{cell}` names no test and no reason", row.id));
            }
            for name in names(cell).filter(|name| !tests.by_name.contains_key(*name)) {
                problems.push(format!("{}: there is no test {name}", row.id));
            }
        }
    }
    for (name, claim) in tests.by_name.iter().flat_map(|(name, claims)| claims.iter().map(move |claim| (name, claim))) {
        let Some(row) = rows.iter().find(|row| row.id == claim.id) else {
            problems.push(format!("{name}: {} is not in the ledger", claim.id));
            continue;
        };
        let cell = match claim.polarity {
            Polarity::Positive => row.positive,
            Polarity::Negative => row.negative,
        };
        if !names(cell).any(|named| named == name) {
            problems.push(format!("{}: {name} says {:?} and is not named there", claim.id, claim.polarity));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "
        /// Ledger: RFC9568-7.1-1, RFC5798-7.1-1 (negative)
        /// Ledger: RFC9568-7.1-2 (positive)
        #[test]
        fn another_version_is_refused() {
        }

        #[tokio::test(flavor = \"current_thread\")]
        async fn it_waits() {}

        fn helper() {}
    ";
    const LEDGER: &str = "
| id | level | requirement | positive | negative |
|---|---|---|---|---|
| RFC9568-7.1-1 | MUST | the version | `it_waits` | `another_version_is_refused` |
| RFC5798-7.1-1 | MUST | the version | gap: not built | `it_waits`, `another_version_is_refused` |
| RFC9568-7.1-2 | SHOULD | the type | `another_version_is_refused` | not applicable: one type |
";

    fn tests(source: &str) -> Tests {
        let mut tests = Tests::default();
        tests.read(source, PathBuf::from("a.rs"));
        tests
    }

    fn problems(ledger: &str, source: &str) -> String {
        compare(ledger, &tests(source)).join("\n")
    }

    #[test]
    fn the_ledger_of_this_tree_and_its_tests_agree() {
        check().unwrap();
    }

    #[test]
    fn a_ledger_and_tests_that_agree_have_no_problem() {
        assert_eq!(problems(LEDGER, SOURCE), "");
        let found = tests(SOURCE);
        assert_eq!(found.by_name.keys().collect::<Vec<_>>(), ["another_version_is_refused", "it_waits"]);
        assert_eq!(found.by_name["another_version_is_refused"].len(), 3);
    }

    #[test]
    fn a_cell_without_test_and_reason_is_a_problem() {
        for cell in ["", "gap:", "gap: ", "yes", "not applicable", SAID] {
            let ledger = LEDGER.replace("gap: not built", cell);
            assert!(problems(&ledger, SOURCE).contains("RFC5798-7.1-1: "), "{cell}");
        }
    }

    #[test]
    fn a_test_that_is_named_must_be_there() {
        let source = SOURCE.replace("fn it_waits", "fn it_hurries");
        let found = problems(LEDGER, &source);
        assert!(found.contains("RFC9568-7.1-1: there is no test it_waits"), "{found}");
        // A function that is no test does not count.
        let source = SOURCE.replace("#[tokio::test(flavor = \"current_thread\")]", "");
        assert!(problems(LEDGER, &source).contains("there is no test it_waits"));
    }

    #[test]
    fn an_id_that_a_test_names_must_be_in_the_ledger_under_its_polarity() {
        let source = SOURCE.replace("RFC9568-7.1-2", "RFC9568-7.1-3");
        assert!(problems(LEDGER, &source).contains("another_version_is_refused: RFC9568-7.1-3 is not in the ledger"));
        let source = SOURCE.replace("(positive)", "(negative)");
        assert!(problems(LEDGER, &source).contains("RFC9568-7.1-2: another_version_is_refused says Negative"));
    }

    #[test]
    fn rows_and_lines_of_another_form_are_problems() {
        assert!(
            problems(&LEDGER.replace("| MUST | the version | gap", "| the version | gap"), SOURCE).contains("4 cells")
        );
        assert!(problems(&LEDGER.replace("RFC5798", "RFC9568"), SOURCE).contains("stands there twice"));
        assert!(problems("", "").contains("no row"));
        for line in ["RFC9568-7.1-1", "RFC9568-7.1 (positive)", "9568-7.1-1 (positive)", "RFC9568-7.1-1 (both)"] {
            assert_eq!(claims_of(line), None, "{line}");
        }
        let orphan = "/// Ledger: RFC9568-7.1-1 (negative)\nstruct Nothing;";
        assert!(problems(LEDGER, orphan).contains("a.rs:2: Ledger line without a test"));
    }
}
