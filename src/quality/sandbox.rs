//! SQL that a model wrote, run where it can do no harm: an in-memory SQLite database that may only be read.
//!
//! The authorizer allows SELECT, column reads, plain functions and recursive queries and nothing else (no ATTACH, PRAGMA,
//! DDL, writes, `load_extension` or randomness); the defensive flag is on; sorting spills to memory, never to a file;
//! lengths are limited; a progress handler stops a query after a fixed number of virtual-machine steps, so the same query
//! always gets the same answer and neither time nor memory can run away: at most [`MAX_LOOKS`] × [`STEPS`] steps, each of
//! which stores at most [`MAX_LENGTH`] bytes.
//!
//! Source: sqlite.org/security.html, section 1.1.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;

/// Rows a query may return.
const MAX_ROWS: usize = 1_000;
/// Bytes of text and blobs a query may return.
const MAX_BYTES: usize = 1_000_000;
/// Virtual-machine steps between two calls of the progress handler.
const STEPS: i32 = 10_000;
/// Calls of the progress handler before a query is stopped.
const MAX_LOOKS: u32 = 50;
/// Bytes of a text, blob, row or statement.
const MAX_LENGTH: i32 = 8_192;
/// What else a query may be; SQLite's own limits are made for trusted SQL.
const LIMITS: &[(Limit, i32)] = &[
    (Limit::SQLITE_LIMIT_LENGTH, MAX_LENGTH),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_LENGTH),
    (Limit::SQLITE_LIMIT_COLUMN, 100),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 20),
    (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 16),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
];
/// Functions a query may not call: code from outside, and answers that differ from run to run.
const FORBIDDEN: &[&str] = &["load_extension", "random", "randomblob", "fts3_tokenizer"];

/// One value of a result; numbers compare by value, whatever their storage class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Number(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Number(_) => 0,
            Self::Text(text) => text.len(),
            Self::Blob(blob) => blob.len(),
        }
    }
}

/// A result's rows, in order.
pub(crate) type Rows = Vec<Vec<Value>>;

/// A database that can be read only.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
}

impl Database {
    /// Runs the task's own `script` (tables and rows), then locks the database.
    ///
    /// # Errors
    /// SQLite's words if the script fails.
    pub(crate) fn new(script: &str) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(script)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        for &(limit, value) in LIMITS {
            connection.set_limit(limit, value)?;
        }
        connection.authorizer(Some(read_only))?;
        Ok(Self { connection })
    }

    /// Rows of one query.
    ///
    /// # Errors
    /// SQLite's words for SQL that is wrong, forbidden, too long-running, or not exactly one statement that returns rows.
    pub(crate) fn query(&mut self, sql: &str) -> Result<Rows, String> {
        // SQLite reads up to the first NUL: what stands behind it would be neither run nor refused.
        if sql.contains('\0') {
            return Err("a NUL character in the query".into());
        }
        let mut looks = 0;
        let watch = move || {
            looks += 1;
            looks > MAX_LOOKS
        };
        self.connection.progress_handler(STEPS, Some(watch)).map_err(|error| error.to_string())?;
        let mut statement = self.connection.prepare(sql).map_err(|error| error.to_string())?;
        let columns = statement.column_count();
        if columns == 0 {
            return Err("not a query: it returns no columns".into());
        }
        let mut cursor = statement.query([]).map_err(|error| error.to_string())?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = cursor.next().map_err(|error| error.to_string())? {
            if rows.len() == MAX_ROWS {
                return Err(format!("more than {MAX_ROWS} rows"));
            }
            let cell = |i| row.get_ref(i).map(value).map_err(|error| error.to_string());
            let cells = (0..columns).map(cell).collect::<Result<Vec<_>, _>>()?;
            bytes += cells.iter().map(Value::bytes).sum::<usize>();
            if bytes > MAX_BYTES {
                return Err(format!("more than {MAX_BYTES} bytes"));
            }
            rows.push(cells);
        }
        Ok(rows)
    }
}

fn read_only(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name }
            if !FORBIDDEN.iter().any(|name| function_name.eq_ignore_ascii_case(name)) =>
        {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

#[expect(clippy::cast_precision_loss, reason = "answers beyond 2^53 do not occur in the tasks' tables")]
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Number(n as f64),
        ValueRef::Real(x) => Value::Number(x),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database::new("CREATE TABLE t(a INTEGER, b TEXT); INSERT INTO t VALUES(1,'x'),(2,'y');").unwrap()
    }

    #[test]
    fn queries_give_their_rows() {
        let rows = database().query("SELECT b, a * 1.5 FROM t ORDER BY a DESC").unwrap();
        assert_eq!(rows[0], [Value::Text("y".into()), Value::Number(3.0)]);
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn hostile_sql_is_refused_and_the_database_stays_as_it_was() {
        let mut db = database();
        for (sql, why) in [
            ("DROP TABLE t", "not authorized"),
            ("DELETE FROM t", "not authorized"),
            ("UPDATE t SET a = 0", "not authorized"),
            ("INSERT INTO t VALUES(3,'z') RETURNING a", "not authorized"),
            ("REPLACE INTO t VALUES(1,'z')", "not authorized"),
            ("ATTACH '/etc/passwd' AS p", "not authorized"),
            ("ATTACH 'file:/etc/passwd?mode=ro' AS p", "not authorized"),
            ("DETACH main", "not authorized"),
            ("PRAGMA writable_schema = 1", "not authorized"),
            ("PRAGMA table_info(t)", "not authorized"),
            ("SELECT * FROM pragma_database_list", "not authorized"),
            ("CREATE TABLE u(a)", "not authorized"),
            ("CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END", "not authorized"),
            ("CREATE VIRTUAL TABLE v USING fts5(a)", "not authorized"),
            ("BEGIN", "not authorized"),
            ("SAVEPOINT s", "not authorized"),
            ("ANALYZE", "not authorized"),
            ("REINDEX", "not a query"),
            ("VACUUM INTO '/tmp/copy'", "not a query"),
            ("SELECT load_extension('evil')", "not authorized"),
            ("SELECT LOAD_EXTENSION('evil')", "not authorized"),
            ("SELECT random()", "not authorized"),
            ("SELECT readfile('/etc/passwd')", "no such function"),
            ("SELECT writefile('/tmp/x', 'y')", "no such function"),
            ("SELECT edit('x')", "no such function"),
            ("SELECT 1; SELECT 2", "ultiple statements"),
            ("SELECT 1; DROP TABLE t", "not authorized"),
            ("SELECT 1\0; DROP TABLE t", "NUL"),
            ("", ""),
            ("-- nothing", ""),
        ] {
            let message = db.query(sql).expect_err(sql);
            assert!(message.contains(why), "{sql}: {message}");
        }
        assert_eq!(db.query("SELECT a, b FROM t").unwrap(), database().query("SELECT a, b FROM t").unwrap());
        assert_eq!(db.query("SELECT COUNT(*) FROM sqlite_master").unwrap(), [[Value::Number(1.0)]]);
    }

    #[test]
    fn endless_and_enormous_queries_end() {
        let count = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)";
        let doubling: String =
            (1..30).map(|i| format!(", c{i} AS (SELECT * FROM c{0} UNION ALL SELECT * FROM c{0})", i - 1)).collect();
        for (sql, why) in [
            (format!("{count} SELECT MAX(n) FROM c"), "interrupted"),
            (format!("{count} SELECT n FROM c"), "1000 rows"),
            (
                format!("{count} SELECT COUNT(*) FROM (SELECT hex(zeroblob(4000)) AS b FROM c ORDER BY b)"),
                "interrupted",
            ),
            (format!("{count} SELECT group_concat(n) FROM c"), ""),
            (format!("{count} SELECT printf('%08000d', n) FROM c LIMIT 900"), "1000000 bytes"),
            ("SELECT COUNT(*) FROM ".to_owned() + &vec!["t"; 40].join(","), "interrupted"),
            (format!("WITH c0 AS (SELECT a FROM t){doubling} SELECT COUNT(*) FROM c29"), ""),
            ("SELECT zeroblob(2000000)".into(), "too big"),
            ("SELECT printf('%.*c', 100000000, 'x')".into(), "too big"),
            (format!("SELECT {}1{}", "(".repeat(3000), ")".repeat(3000)), ""),
            (format!("SELECT {}1", "1+".repeat(3000)), ""),
            (format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(300)), "too many terms"),
            (format!("SELECT '{}'", "x".repeat(10_000)), ""),
            (format!("SELECT b LIKE '{}' FROM t", "%a".repeat(200)), "too complex"),
        ] {
            let message = database().query(&sql).expect_err(&sql);
            assert!(message.contains(why), "{sql}: {message}");
        }
    }

    #[test]
    fn a_stopped_query_does_not_shorten_the_next_one() {
        let mut db = database();
        for _ in 0..3 {
            db.query("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT MAX(n) FROM c")
                .unwrap_err();
            assert_eq!(db.query("SELECT SUM(a) FROM t").unwrap(), [[Value::Number(3.0)]]);
        }
    }
}
