//! What went wrong with a request, as a kind that recovery understands, and in words.
//!
//! The client's own messages hold all that a server answers. After a wrong signature that is the request as it was signed,
//! with the token of the session. So of an answer only its code and its message are said, and nothing of a request but
//! what it was about.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

/// Longest part of a server's message that is said, in bytes.
const MESSAGE_BYTES_MAX: usize = 300;

/// What stands before the status in the client's messages.
const STATUS: &str = "status code: ";

/// Where machines of the cloud get their credentials.
const METADATA_SERVICE: &str = "169.254.169.254";

/// The status of a server's answer, if that was the failure.
pub(crate) fn status(error: &Error) -> Option<u16> {
    let text = error.to_string();
    let (_, rest) = text.split_once(STATUS)?;
    rest.get(..3)?.parse().ok()
}

/// Whether another request got in the way of a conditional one: it was neither done nor refused, and is to be made
/// again. The client takes that for "exists already", which it need not be.
pub(crate) fn is_conflict(error: &Error) -> bool {
    status(error) == Some(409)
}

/// Whether an object has none of the bytes that were asked for.
pub(crate) fn is_out_of_range(error: &Error) -> bool {
    // The second is what objects in memory say.
    status(error) == Some(416) || error.to_string().contains("Invalid range")
}

/// The failure as an error that says what to do.
pub(crate) fn explain(error: &Error, bucket: &str) -> io::Error {
    let text = error.to_string();
    let code = element(&text, "Code");
    let (kind, message) = if text.contains(METADATA_SERVICE) {
        let message = "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where the \
                       machine has a role";
        (ErrorKind::PermissionDenied, message.to_owned())
    } else if code == Some("NoSuchBucket") {
        // Not that an object is missing: recovery would take it for damage.
        let message = format!("there is no bucket `{bucket}`: make it, or name another one");
        (ErrorKind::Other, message)
    } else if let Some(status) = status(error) {
        (kind_of(error, Some(status)), answered(status, code, &text))
    } else if let Some(failure) = transport(error) {
        failure
    } else {
        (kind_of(error, None), shortened(&text))
    };
    io::Error::new(kind, message)
}

fn kind_of(error: &Error, status: Option<u16>) -> ErrorKind {
    match (error, status) {
        (Error::NotFound { .. }, _) => ErrorKind::NotFound,
        (Error::AlreadyExists { .. } | Error::Precondition { .. }, _) => ErrorKind::AlreadyExists,
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _)
        | (_, Some(401 | 403)) => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    }
}

/// What a server has answered.
fn answered(status: u16, code: Option<&str>, text: &str) -> String {
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    let message = element(text, "Message").map(|it| format!(": {}", shortened(it)));
    let message = message.unwrap_or_default();
    let what_to_do = match status {
        301 | 307 => "; the bucket is in another region: set AWS_REGION",
        401 | 403 => {
            "; look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and at what the key may do: \
             get, put, delete and list"
        }
        404 => "; it is not there",
        409 => "; another request is under way",
        500..=599 | 429 => "; it is busy or broken",
        _ => "",
    };
    format!(
        "the service answered {status}{code}{}{what_to_do}",
        message.trim_end_matches('.')
    )
}

/// What kept a request from being answered.
fn transport(error: &Error) -> Option<(ErrorKind, String)> {
    let mut next = error.source();
    let failure = loop {
        let error = next?;
        match error.downcast_ref::<HttpError>() {
            Some(failure) => break failure,
            None => next = error.source(),
        }
    };
    let mut deepest: &dyn std::error::Error = failure;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let deepest = shortened(&deepest.to_string());
    Some(match failure.kind() {
        HttpErrorKind::Connect => {
            let what_to_do = "is AWS_ENDPOINT_URL right, and the service there?";
            let message = format!("cannot connect to the service: {deepest}; {what_to_do}");
            (ErrorKind::NotConnected, message)
        }
        HttpErrorKind::Timeout => {
            let message = "the service did not answer in time".to_owned();
            (ErrorKind::TimedOut, message)
        }
        _ => {
            let message = format!("the service gave no whole answer: {deepest}");
            (ErrorKind::ConnectionAborted, message)
        }
    })
}

/// The text of the first element of this name in an answer.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inside, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inside)
}

/// As much of a text as a message may hold, and nothing of an answer's body.
fn shortened(text: &str) -> String {
    let text = text
        .split(['<', '\n'])
        .next()
        .unwrap_or_default()
        .trim_end();
    let mut end = text.len().min(MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let whole = end == text.len();
    format!(
        "{}{}",
        text.get(..end).unwrap_or_default(),
        if whole { "" } else { "..." }
    )
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use object_store::Error;

    use super::{explain, is_conflict};

    fn generic(text: &str) -> Error {
        Error::Generic {
            store: "S3",
            source: text.into(),
        }
    }

    #[test]
    fn is_nothing_secret_said() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match.</Message>\
                    <CanonicalRequest>x-amz-security-token:moonlight</CanonicalRequest></Error>";
        let text = format!("Server returned non-2xx status code: 403 Forbidden: {body}");
        let said = explain(&generic(&text), "b");
        assert_eq!(said.kind(), ErrorKind::PermissionDenied);
        let said = said.to_string();
        assert!(!said.contains("moonlight"), "{said}");
        let begins = "the service answered 403 (SignatureDoesNotMatch): The signature does not match; look at AWS";
        assert!(said.starts_with(begins), "{said}");
        // Nor of a body that is none.
        let said = explain(&generic("strange <a>moonlight</a>"), "b").to_string();
        assert!(!said.contains("moonlight"), "{said}");
    }

    #[test]
    fn is_a_missing_bucket_no_missing_object() {
        let error = |code: &str| Error::NotFound {
            path: "log/1".into(),
            source: format!("non-2xx status code: 404 Not Found: <Code>{code}</Code>").into(),
        };
        let said = explain(&error("NoSuchKey"), "b");
        assert_eq!(said.kind(), ErrorKind::NotFound);
        let said = explain(&error("NoSuchBucket"), "b");
        assert_eq!(said.kind(), ErrorKind::Other);
        assert!(
            said.to_string().contains("no bucket `b`: make it"),
            "{said}"
        );
    }

    #[test]
    fn is_a_conflict_told_from_an_object_that_is_there() {
        let error = |status: &str| Error::AlreadyExists {
            path: "log/1".into(),
            source: format!("Server returned non-2xx status code: {status}: ").into(),
        };
        assert!(is_conflict(&error("409 Conflict")));
        assert!(!is_conflict(&error("412 Precondition Failed")));
        assert!(!is_conflict(&generic("another process has it")));
    }

    #[test]
    fn does_a_message_end_somewhere() {
        let long = "é".repeat(1000);
        assert!(explain(&generic(&long), "b").to_string().len() < 400);
    }
}
