//! Reads a vector file and compares, value by value, within each vector's own tolerance.

use serde_json::Value;

/// One vector: named inputs and the outputs they must give.
pub(crate) struct Vector(Value);

/// What a formula gave for one name.
#[derive(Debug)]
pub(crate) enum Got {
    Number(f64),
    Numbers(Vec<f64>),
    Bool(bool),
    Texts(Vec<String>),
    Missing,
}

impl From<f64> for Got {
    fn from(x: f64) -> Self {
        Self::Number(x)
    }
}

impl From<u64> for Got {
    fn from(x: u64) -> Self {
        Self::Number(x as f64)
    }
}

impl From<bool> for Got {
    fn from(x: bool) -> Self {
        Self::Bool(x)
    }
}

impl<T: Into<Got>> From<Option<T>> for Got {
    fn from(x: Option<T>) -> Self {
        x.map_or(Self::Missing, Into::into)
    }
}

impl Vector {
    fn field(&self, group: &str, name: &str) -> &Value {
        let value = &self.0[group][name];
        assert!(!value.is_null() || self.0[group].get(name).is_some(), "{}: no {group}.{name}", self.id());
        // The cost file wraps every value with its unit.
        value.get("value").unwrap_or(value)
    }

    pub(crate) fn id(&self) -> &str {
        self.0["id"].as_str().unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0["inputs"].get(name).is_some()
    }

    pub(crate) fn expects(&self, name: &str) -> bool {
        self.0["expected"].get(name).is_some()
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.field("inputs", name).as_f64().unwrap()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.field("inputs", name).as_u64().unwrap()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.field("inputs", name).as_bool().unwrap()
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.field("inputs", name).as_str().unwrap()
    }

    pub(crate) fn array(&self, name: &str) -> &[Value] {
        self.field("inputs", name).as_array().unwrap()
    }

    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        self.array(name).iter().map(|x| x.as_f64().unwrap()).collect()
    }

    /// Compares every expected value; a name on only one side is an error.
    pub(crate) fn expect(&self, got: &[(&str, Got)]) {
        let expected = self.0["expected"].as_object().unwrap();
        let names: Vec<&str> = got.iter().map(|g| g.0).collect();
        for name in expected.keys() {
            assert!(names.contains(&name.as_str()), "{}: `{name}` is not compared", self.id());
        }
        for (name, value) in got {
            self.compare(name, value, self.field("expected", name));
        }
    }

    fn compare(&self, name: &str, got: &Got, want: &Value) {
        let right = match got {
            Got::Number(x) => self.near(*x, want),
            Got::Numbers(xs) => {
                let want = want.as_array().unwrap();
                xs.len() == want.len() && xs.iter().zip(want).all(|(x, w)| self.near(*x, w))
            }
            Got::Bool(b) => want.as_bool() == Some(*b),
            Got::Texts(ts) => *want == Value::from(ts.clone()),
            Got::Missing => want.is_null(),
        };
        assert!(right, "{}: {name} is {got:?}, expected {want}", self.id());
    }

    fn near(&self, got: f64, want: &Value) -> bool {
        let want = match want.as_str() {
            Some("inf") => f64::INFINITY,
            Some("-inf") => f64::NEG_INFINITY,
            Some(other) => panic!("{}: unexpected text `{other}`", self.id()),
            None => match want.as_f64() {
                Some(x) => x,
                None => return false,
            },
        };
        let tol = |key: &str| self.0["tol"][key].as_f64().unwrap();
        got == want || (got - want).abs() <= f64::max(tol("abs"), tol("rel") * want.abs())
    }
}

/// Runs `check` on every vector of `formula` in the file's text; at least one must exist.
pub(crate) fn each(file: &str, formula: &str, check: impl Fn(&Vector)) {
    let mine: Vec<Vector> = all(file).into_iter().filter(|v| v["formula"] == formula).map(Vector).collect();
    assert!(!mine.is_empty(), "no vector of `{formula}`");
    mine.iter().for_each(check);
}

/// Formulas of the file that are not in `tested`.
pub(crate) fn untested(file: &str, tested: &[&str]) -> Vec<String> {
    let mut missing: Vec<String> = all(file)
        .iter()
        .map(|v| v["formula"].as_str().unwrap().to_owned())
        .filter(|f| !tested.contains(&f.as_str()))
        .collect();
    missing.dedup();
    missing
}

fn all(file: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(file).unwrap();
    document["vectors"].as_array().unwrap().clone()
}

/// One test per formula, and one that no formula of the file is left out.
macro_rules! formulas {
    ($file:literal; $($name:ident $formula:literal => $check:expr;)*) => {
        const FILE: &str = include_str!($file);
        $(#[test] fn $name() { $crate::harness::each(FILE, $formula, $check); })*

        #[test]
        fn no_formula_of_the_file_is_left_out() {
            let missing = $crate::harness::untested(FILE, &[$($formula),*]);
            assert!(missing.is_empty(), "formulas without a test: {missing:?}");
        }
    };
}
pub(crate) use formulas;
