//! Queries read, keep to their limits, and reach nothing else.

use super::*;

fn database(dir: &Path, name: &str, sql: &str) -> PathBuf {
    let path = dir.join(name);
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    path
}

fn tables() -> (tempfile::TempDir, Tables) {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE plans (id INTEGER, name TEXT); INSERT INTO plans VALUES (1, 'basic'), (2, NULL);
               CREATE VIEW named AS SELECT name FROM plans WHERE name IS NOT NULL;";
    let path = database(dir.path(), "shop #1.db", sql);
    let mut tables = Tables::new(1_000, Duration::from_millis(300));
    assert_eq!(tables.add_database("shop #1.db", &path).unwrap(), "SQLite, 2 tables");
    let csv = "plan,when,price\n1,2024-01-02,2.5\n1,,3\n2,2024-02-01,1\n";
    let said = tables.add_csv("data/orders.csv.gz", csv.into(), false).unwrap();
    assert_eq!(said, "the table \"orders\", 3 rows of 3 columns");
    (dir, tables)
}

#[test]
fn csv_and_databases_are_queried_together() {
    let (_dir, tables) = tables();
    assert_eq!(
        tables.described(),
        [
            "- \"orders\"(\"plan\" INTEGER, \"when\" TEXT, \"price\" REAL): 3 rows, \
             from \"data/orders.csv.gz\"",
            "- shop__1.\"plans\"(\"id\" INTEGER, \"name\" TEXT): 2 rows, from \"shop #1.db\"",
            "- shop__1.\"named\"(\"name\" TEXT): 1 rows, from \"shop #1.db\"",
        ]
    );
    let sql = "SELECT name, sum(price) AS total, count(\"when\"), 1 AS name FROM orders \
               JOIN plans ON plan = id GROUP BY id ORDER BY id";
    let rows = tables.query(sql).unwrap();
    assert_eq!(
        rows.repr(500),
        "[{'name': 'basic', 'total': 5.5, 'count(\"when\")': 1, 'name_2': 1}, \
         {'name': None, 'total': 1.0, 'count(\"when\")': 1, 'name_2': 1}]"
    );
    let columns = tables.query("SELECT name FROM pragma_table_info('plans', 'shop__1')").unwrap();
    assert_eq!(columns.as_list().unwrap().len(), 2);
}

#[test]
fn queries_change_nothing_and_reach_no_other_file() {
    let (dir, tables) = tables();
    let other = database(dir.path(), "other.db", "CREATE TABLE secrets (a)");
    let other = other.display();
    for sql in [
        "DELETE FROM plans".to_owned(),
        "INSERT INTO orders VALUES (1, 2, 3)".to_owned(),
        "CREATE TEMP TABLE t (a)".to_owned(),
        "PRAGMA query_only = OFF".to_owned(),
        "PRAGMA writable_schema = ON".to_owned(),
        "SELECT load_extension('x')".to_owned(),
        format!("ATTACH '{other}' AS other"),
        format!("VACUUM INTO '{other}.copy'"),
        format!("VACUUM shop__1 INTO '{other}.copy'"),
    ] {
        let problem = tables.query(&sql).unwrap_err();
        let is_refused = problem.contains("only a SELECT") || problem.contains("not authorized");
        assert!(is_refused, "{sql}: {problem}");
    }
    assert!(!dir.path().join("other.db.copy").exists());
    assert_eq!(tables.query("SELECT count(*) AS n FROM plans").unwrap().repr(90), "[{'n': 2}]");
}

#[test]
fn queries_keep_to_their_limits() {
    let (_dir, tables) = tables();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    let fails = |sql: &str| tables.query(sql).unwrap_err();
    assert_eq!(fails(&format!("{endless} SELECT max(i) FROM n")), "the query took more than 0.3 s");
    assert!(fails(&format!("{endless} SELECT i FROM n")).contains("over 1000 rows"));
    assert!(fails("SELECT zeroblob(1000000000)").contains("too big"));
    assert!(fails(&format!("{endless} SELECT zeroblob(1000000) FROM n LIMIT 100")).contains("over 64 MB"));
    assert!(fails("SELECT nope FROM plans").contains("no such column"));
    assert!(fails(" ").contains("empty"));
    assert!(tables.query("SELECT 1").is_ok(), "a query that failed leaves nothing behind");
}

#[test]
fn what_gives_rows_is_evidence() {
    let (_dir, tables) = tables();
    let position = tables.evidence("SELECT * FROM plans WHERE id = 1").unwrap();
    assert_eq!(position, Position::Rows { rows: 1, first: "id=1, name='basic'".to_owned() });
    assert!(tables.evidence("SELECT * FROM plans WHERE id = 9").unwrap_err().contains("no rows"));
}

#[test]
fn databases_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut tables = Tables::new(10, Duration::from_secs(1));
    let mut add = |path: &Path| tables.add_database("x.db", path).unwrap_err();
    let locked = database(dir.path(), "locked.db", "CREATE TABLE t (a)");
    let holder = Connection::open(&locked).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(add(&locked), "the database is locked by another program");
    let damaged = dir.path().join("damaged.db");
    std::fs::write(&damaged, [b"SQLite format 3\0".as_slice(), &[0x5a; 500]].concat()).unwrap();
    assert_eq!(add(&damaged), "the database is damaged, or encrypted");
    assert!(add(&database(dir.path(), "empty.db", "PRAGMA user_version = 1")).contains("without a table"));
}

#[test]
fn no_name_of_a_file_keeps_the_others_from_being_queried() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE t (a); INSERT INTO t VALUES (1)";
    let mut tables = Tables::new(1_000, Duration::from_millis(300));
    for name in ["Main.db", "shop.db", "Shop.DB", "sqlite_x.db"] {
        let path = database(dir.path(), name, sql);
        tables.add_database(name, &path).unwrap();
    }
    tables.add_csv("sqlite_stats.csv", "a\n1\n".into(), false).unwrap();
    for empty in ["\n\n", "\u{feff}"] {
        assert_eq!(tables.add_csv("empty.csv", empty.into(), false).unwrap_err(), "there is no field in it");
    }
    let sql = "SELECT (SELECT count(*) FROM Main_2.t) + (SELECT count(*) FROM shop.t)
               + (SELECT count(*) FROM Shop_2.t) + (SELECT count(*) FROM t_sqlite_x.t)
               + (SELECT count(*) FROM t_sqlite_stats) AS n";
    assert_eq!(tables.query(sql).unwrap().repr(90), "[{'n': 5}]");
    let long = "n".repeat(1 << 20);
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100)";
    let problem = tables.query(&format!("{rows} SELECT i AS {long} FROM n")).unwrap_err();
    assert!(problem.contains("over 64 MB"), "{problem}");
}

#[test]
fn tables_of_modules_are_queried() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE VIRTUAL TABLE notes USING fts5(title, body);
               INSERT INTO notes VALUES ('a', 'the quick fox'), ('b', 'a slow dog');
               CREATE VIRTUAL TABLE boxes USING rtree(id, low, high);
               INSERT INTO boxes VALUES (1, 0, 10), (2, 20, 30);
               CREATE TABLE plain (n); INSERT INTO plain VALUES (7);";
    let path = database(dir.path(), "search.db", sql);
    let mut tables = Tables::new(100, Duration::from_secs(5));
    tables.add_database("search.db", &path).unwrap();
    let gives = |sql: &str| tables.query(sql).unwrap().repr(200);
    assert_eq!(gives("SELECT title FROM notes WHERE notes MATCH 'fox'"), "[{'title': 'a'}]");
    assert_eq!(gives("SELECT id FROM boxes WHERE low >= 15"), "[{'id': 2}]");
    assert_eq!(gives("SELECT n FROM plain"), "[{'n': 7}]");
    for sql in ["INSERT INTO notes(notes) VALUES ('optimize')", "CREATE VIRTUAL TABLE x USING fts5(a)"] {
        let problem = tables.query(sql).unwrap_err();
        assert!(problem.contains("only a SELECT") || problem.contains("not authorized"), "{problem}");
    }
}
