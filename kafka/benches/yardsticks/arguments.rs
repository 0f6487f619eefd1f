//! What a yardstick is told: pairs of a name and a value.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::Failure;

/// Values by name.
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Reads `--name value` pairs.
    pub fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("`{}` has no value", pair.concat()).into());
            };
            let name = name
                .strip_prefix("--")
                .ok_or_else(|| format!("`{name}` is no option"))?;
            values.insert(name.to_owned(), value.clone());
        }
        Ok(Arguments(values))
    }

    /// A text that must be there.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        let text = self.given(name);
        text.ok_or_else(|| format!("`--{name}` is missing").into())
    }

    /// A text that may be there.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Texts with commas between them.
    pub fn list(&self, name: &str) -> Result<Vec<&str>, Failure> {
        Ok(self.text(name)?.split(',').collect())
    }

    /// A number that must be there.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        let text = self.text(name)?;
        let number = text.replace('_', "").parse();
        number.map_err(|_| format!("`--{name} {text}`: expected a number").into())
    }
}
