//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

/// A value with its labels.
pub(super) type Sample = (Vec<(&'static str, String)>, u64);

/// Metrics in the order in which they were added.
#[derive(Default)]
pub(super) struct Metrics(String);

impl Metrics {
    /// Adds a gauge. One without samples is left out.
    pub(super) fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let labels: Vec<_> =
                labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
            let _ = match labels.as_slice() {
                [] => writeln!(self.0, "{name} {value}"),
                labels => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
            };
        }
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

/// A label's value as the format escapes it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_format_has_it() {
        let mut metrics = Metrics::default();
        metrics.gauge("a_seconds", "When.", [(vec![], 7)]);
        metrics.gauge("none", "Left out.", []);
        let odd = "a\\b\"c\nd".to_owned();
        metrics.gauge("b", "What.", [(vec![("x", odd), ("y", "é".to_owned())], 0)]);
        assert_eq!(
            metrics.text(),
            "# HELP a_seconds When.\n# TYPE a_seconds gauge\na_seconds 7\n\
             # HELP b What.\n# TYPE b gauge\nb{x=\"a\\\\b\\\"c\\nd\",y=\"é\"} 0\n"
        );
    }
}
