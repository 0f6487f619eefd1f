//! Checks with `when` and filters: what they are read as, and where a mistake in an expression is told.

use slackwater_operators::check::RowCheck;

use crate::pipeline::Pipeline;
use crate::pipeline::plan::Plans;
use crate::pipeline::spec::CheckStage;
use crate::pipeline::tests::{SMALL, mistakes};

#[test]
fn where_is_a_mistake_in_an_expression_told() {
    // The small file has 38 lines.
    let check = |more: &str, expected: &[&str]| {
        assert_eq!(mistakes(&format!("{SMALL}{more}")), expected, "{more}");
    };
    let filter = |keep: &str| format!("[[filter]]\nkeep = {keep}\n");
    let unknown = "`keep`: unknown field \"prise\", did you mean \"price\"?";
    let at = |place: &str| format!("{place}: {unknown}");
    check(&filter("\"user == 'ẅ' && prise > 1.0\""), &[&at("40:24")]);
    check(&filter("'user == \"ẅ\" && prise > 1.0'"), &[&at("40:24")]);
    // Where the text is not in the file as it is, at its beginning.
    check(
        &filter("\"user == 'a\\tb' && prise > 1.0\""),
        &[&at("40:8")],
    );
    check(
        &filter("\"user == '\\u0061' && prise > 1.0\""),
        &[&at("40:8")],
    );
    check(
        &filter("\"\"\"user == 'a' && prise > 1.0\"\"\""),
        &[&at("40:8")],
    );
    check(
        &filter("\"\"\"\nuser == 'a' &&\n prise > 1.0\"\"\""),
        &[&at("40:8")],
    );
    check(
        &filter("\"price > 1.0 &&\""),
        &["40:23: `keep`: the expression ends too early"],
    );
    check(&filter("\"\""), &["40:8: `keep`: must not be empty"]);
    check(
        &filter("true"),
        &["40:8: `keep`: expected an expression as a string, got true"],
    );
    check(
        &filter("\"at\""),
        &["40:9: `keep`: the expression must give true or false, it gives an int"],
    );
    check(
        &filter("\"usr == 'a'\\n\""),
        &["40:8: `keep`: unknown field \"usr\", did you mean \"user\"?"],
    );
    check(
        &filter("\"zzz == 'a'\""),
        &["40:9: `keep`: unknown field \"zzz\", known are \"user\", \"at\", \"price\""],
    );
    check(
        &filter("\"user.startWith('a')\""),
        &["40:14: `keep`: unknown function \"startWith\", did you mean \"startsWith\"?"],
    );
    check(
        &filter("\"user.zzz('a')\""),
        &[
            "40:14: `keep`: unknown function \"zzz\", known are size, contains, startsWith, endsWith, matches, int, uint, \
         double, string, bool, bytes, dyn, type, has, all, exists, exists_one, map, filter",
        ],
    );
    check("[[filter]]\n", &["39:1: [[filter]] needs `keep`"]);
    check(
        "[[filter]]\nkep = \"true\"\n",
        &["40:1: unknown key `kep` in [[filter]], did you mean `keep`?"],
    );
}

#[test]
fn is_a_check_one_of_a_field_or_one_with_when() {
    let check = |more: &str, expected: &[&str]| {
        let text = format!("{SMALL}[[check]]\n{more}\n");
        assert_eq!(mistakes(&text), expected, "{more}");
    };
    check(
        "",
        &[
            "39:1: [[check]] needs `field`, or `when`",
            "39:1: [[check]] needs `rule`, or `when`",
        ],
    );
    check(
        "field = \"user\"",
        &["39:1: [[check]] needs `rule`, or `when`"],
    );
    check(
        "when = \"price > 1.0\"",
        &["39:1: [[check]] needs `message` with `when`"],
    );
    check(
        "field = \"user\"\nrule = \"min\"\nvalue = 1\nwhen = \"price > 1.0\"\nmessage = \"m\"",
        &[
            "40:1: `field` does not go with `when`: leave one out",
            "41:1: `rule` does not go with `when`: leave one out",
            "42:1: `value` does not go with `when`: leave one out",
        ],
    );
    check(
        "values = [1]\nwhen = \"prise > 1.0\"\nmessage = \"m\"\nstage = \"fature\"",
        &[
            "40:1: `values` does not go with `when`: leave one out",
            "41:9: `when`: unknown field \"prise\", did you mean \"price\"?",
            "43:9: `stage`: unknown value \"fature\", did you mean \"feature\"?",
        ],
    );
    // Of fields that could not be read nothing is said.
    let text = SMALL.replace("type = \"float\"", "type = \"flot\"");
    let text = format!("{text}[[filter]]\nkeep = \"prise > 1\"\n");
    assert_eq!(
        mistakes(&text),
        ["22:8: `type`: unknown value \"flot\", did you mean \"float\"?"]
    );
}

#[test]
fn in_which_order_do_checks_stand() {
    let field = |stage: &str| {
        format!(
            "[[check]]\nfield = \"user\"\nrule = \"not_empty\"\nmessage = \"f\"\nstage = \"{stage}\"\n"
        )
    };
    let of_field = field("feature").replace("user", "price");
    let when = |message: &str, stage: &str| {
        format!("[[check]]\nwhen = \"price > 1\"\nmessage = \"{message}\"\nstage = \"{stage}\"\n")
    };
    let parts = [
        when("1", "feature"),
        when("2", "validate"),
        of_field.clone(),
        when("3", "feature"),
        when("4", "feature"),
        field("validate"),
        when("5", "validate"),
        of_field,
        when("6", "feature"),
        "[[filter]]\nkeep = \"price > 1\"\n[[filter]]\nkeep = \"user != ''\"\n".to_owned(),
    ];
    let pipeline = Pipeline::parse("x.toml", &format!("{SMALL}{}", parts.concat())).unwrap();
    let after: Vec<(usize, CheckStage)> = pipeline
        .conditions
        .iter()
        .map(|it| (it.after, it.stage))
        .collect();
    let (early, late) = (CheckStage::Validate, CheckStage::Feature);
    assert_eq!(
        after,
        [
            (0, late),
            (0, early),
            (1, late),
            (1, late),
            (2, early),
            (3, late)
        ]
    );
    let plans = Plans::new(&pipeline, 1);
    let conditions = plans.ingest.conditions.iter();
    assert_eq!(
        conditions.map(|it| &it.message).collect::<Vec<_>>(),
        ["2", "5"]
    );
    let checks = plans.features.checks.iter().map(|check| match check {
        RowCheck::Field(check) => &check.message,
        RowCheck::When(when) => &when.message,
    });
    assert_eq!(checks.collect::<Vec<_>>(), ["1", "f", "3", "4", "f", "6"]);
    let kept = plans.ingest.filters.iter().map(|filter| filter.keep.text());
    assert_eq!(kept.collect::<Vec<_>>(), ["price > 1", "user != ''"]);
}
