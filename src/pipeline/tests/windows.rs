//! How much features may ask of windows.

use crate::pipeline::Pipeline;
use crate::pipeline::tests::SMALL;

/// Marks of windows are bits of a word.
#[test]
fn how_many_conditions_go_together() {
    let features = |n: usize| {
        let feature = |at: usize| {
            format!(
                "[[feature]]\nname = \"f{at}\"\nof = \"count\"\nwindow = \"1h\"\nwhere = {{ user = \"u{at}\" }}\n"
            )
        };
        let one = "[[feature]]\nname = \"seen\"\nof = \"count\"\n";
        assert!(SMALL.contains(one));
        SMALL.replace(one, &(0..n).map(feature).collect::<String>())
    };
    assert!(Pipeline::parse("p.toml", &features(64)).is_ok());
    let mistakes = Pipeline::parse("p.toml", &features(65)).unwrap_err();
    let told: Vec<_> = mistakes.list().iter().map(ToString::to_string).collect();
    let told = told.join("\n");
    assert!(
        told.ends_with("features over windows of key user have 65 different `where` and `distinct`, at most 64 go together: leave some out, or make them of others with `expr`"),
        "{told}"
    );
}
