//! Is there any file that the reader of pipeline files does not get over, or of which it tells a mistake outside of the file?
#![no_main]

use libfuzzer_sys::fuzz_target;
use slackwater::pipeline::Pipeline;

fuzz_target!(|file: &[u8]| {
    let Err(mistakes) = Pipeline::parse_bytes("job.toml", file) else {
        return;
    };
    // Of a file that is no text, what stands before the first byte that is none.
    let text = match str::from_utf8(file) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&file[..error.valid_up_to()]).unwrap_or_default(),
    };
    let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    assert!(!mistakes.list().is_empty());
    for mistake in mistakes.list() {
        let line = mistake.line.checked_sub(1).and_then(|line| lines.get(line));
        let within = line.is_some_and(|chars| (1..=chars + 1).contains(&mistake.column));
        assert!(within, "{mistake}");
    }
});
