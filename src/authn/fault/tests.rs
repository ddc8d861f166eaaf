use regex_lite::Regex;

use super::*;
use crate::authn::identity::IncompleteReason;

/// What the page lists as reasons in the log; `…` stands for anything.
fn explained() -> Vec<Regex> {
    let page = include_str!("../../../docs/troubleshooting.md");
    let section = page.split("\n## Log lines").nth(1).unwrap();
    let rows = section.lines().skip(1).take_while(|line| !line.starts_with("## "));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let pattern = |words: &str| regex_lite::escape(words).replace(" …", ".*").replace('…', ".*");
    words.map(|words| Regex::new(&format!("^{}$", pattern(words))).unwrap()).collect()
}

#[test]
fn every_reason_in_the_log_is_explained_on_the_page() {
    let explained = explained();
    assert!(explained.len() > 50, "{}", explained.len());
    let unusable = [
        Malformed::Several,
        Malformed::TooLong,
        Malformed::NotAscii,
        Malformed::Scheme,
        Malformed::TokenSyntax,
        Malformed::Base64,
        Malformed::NotUtf8,
        Malformed::NoColon,
        Malformed::EmptyUsername,
        Malformed::ControlCharacter,
    ];
    let token = [
        TokenRejection::NotJws,
        TokenRejection::Encrypted,
        TokenRejection::CriticalExtension,
        TokenRejection::LogoutToken,
        TokenRejection::Algorithm,
        TokenRejection::Issuer,
        TokenRejection::Audience,
        TokenRejection::UnknownKey,
        TokenRejection::Signature,
        TokenRejection::Claims,
        TokenRejection::NoExpiry,
        TokenRejection::Expired,
        TokenRejection::NotYetValid,
        TokenRejection::IssuedInFuture,
    ];
    let incomplete = [
        IncompleteReason::NoSubject,
        IncompleteReason::NoUsername,
        IncompleteReason::ControlCharacter,
        IncompleteReason::WhiteSpace,
    ];
    let rejections = [
        Rejection::NoCredential,
        Rejection::Refused(Grant::Password),
        Rejection::Refused(Grant::Assertion),
        Rejection::Refused(Grant::Code),
        Rejection::SessionEnded(SessionEnd::Inactive),
        Rejection::SessionEnded(SessionEnd::SignedOut),
        Rejection::Inactive,
        Rejection::LoginFailed(LoginFailure::NoCode),
        Rejection::Logout(LogoutRejection::Token(TokenRejection::Signature)),
        Rejection::Logout(LogoutRejection::Type),
        Rejection::Logout(LogoutRejection::NoIssueTime),
        Rejection::Logout(LogoutRejection::TooOld),
        Rejection::Logout(LogoutRejection::NoTokenId),
        Rejection::Logout(LogoutRejection::Events),
        Rejection::Logout(LogoutRejection::Nonce),
        Rejection::Logout(LogoutRejection::NobodyNamed),
        Rejection::Logout(LogoutRejection::Replayed),
        Rejection::Logout(LogoutRejection::Body),
        Rejection::NotFound,
        Rejection::Throttled { retry_after: None },
        Rejection::UnknownHost,
    ];
    let faults = [
        Fault::Unreachable { status: 503, reason: "no healthy upstream".into() },
        Fault::Lost,
        Fault::UnknownApplication,
        Fault::UnencodableCall,
        Fault::UnencodableSession,
        Fault::InvalidClient(Grant::Code),
        Fault::IssuedToken(TokenRejection::UnknownKey),
        Fault::IssuedToken(TokenRejection::Audience),
        Fault::Unavailable { status: 405, retry_after: None },
        Fault::BadAnswer { status: 200 },
        Fault::AnswerTooLarge,
        Fault::Reset,
        Fault::UnknownCluster,
        Fault::NoCapacity,
        Fault::TooManyCalls,
        Fault::WaitedTooLong,
        Fault::TooManyWaiting,
        Fault::InvalidClient(Grant::Password),
        Fault::RequestRefused,
        Fault::IssuedToken(TokenRejection::Issuer),
        Fault::IssuedTokenInactive,
        Fault::NoKeys,
        Fault::NoSignatureCheck,
        Fault::NoRandomness,
        Fault::NoBody,
        Fault::Host,
    ];
    let reasons = (rejections.into_iter())
        .chain(unusable.map(Rejection::Malformed))
        .chain(token.map(Rejection::Token))
        .chain(incomplete.map(|reason| Rejection::Incomplete(Incomplete { reason, account: None })))
        .map(|rejection| rejection.to_string())
        .chain(faults.map(|fault| fault.to_string()));
    let mut seen = Vec::new();
    for reason in reasons {
        assert!(explained.iter().any(|pattern| pattern.is_match(&reason)), "{reason}");
        assert!(!seen.contains(&reason), "{reason}, twice");
        seen.push(reason);
    }
}
