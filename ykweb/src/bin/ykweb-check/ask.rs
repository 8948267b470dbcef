//! Asks the server: one request of HTTP/1.1 over its socket.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use ykweb::check_api::{CheckReply, CheckRequest, MOST_REPLY, PATH};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, cause};

/// How long an answer may take. The server has time limits of its own; Cosign waits for a minute.
const DEADLINE: Duration = Duration::from_secs(30);

/// The reply.
///
/// # Errors
/// There is none: nothing was decided, or nobody knows what.
pub(crate) fn ask(socket: &Path, request: &CheckRequest) -> Result<CheckReply, Diagnostic> {
    let fault = |problem: String| not_asked(socket, &problem);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| fault(format!("cannot start: {}", cause(&why))))?;
    let asked = runtime.block_on(async { tokio::time::timeout(DEADLINE, over(socket, request)).await });
    asked.map_err(|_| fault(format!("did not answer within {} seconds", DEADLINE.as_secs())))?.map_err(fault)
}

async fn over(socket: &Path, request: &CheckRequest) -> Result<CheckReply, String> {
    let stream =
        UnixStream::connect(socket).await.map_err(|why| format!("cannot connect: {}", cause(&why)))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|why| format!("cannot ask: {why}"))?;
    let connection = tokio::spawn(connection);
    // hyper's buffers are not wiped. This process ends with the answer.
    let body = Full::new(Bytes::copy_from_slice(&request.write()));
    let question = Request::builder()
        .method(Method::POST)
        .uri(PATH)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(body)
        .map_err(|why| format!("cannot ask: {why}"))?;
    let reply = sender.send_request(question).await.map_err(|why| format!("did not answer: {why}"))?;
    let status = reply.status();
    let body = Limited::new(reply.into_body(), MOST_REPLY).collect().await;
    connection.abort();
    if status != StatusCode::OK {
        return Err(format!("answered with HTTP status {}", status.as_u16()));
    }
    let body = body.map_err(|why| format!("broke off its answer: {why}"))?.to_bytes();
    CheckReply::read(&body).map_err(|why| format!("answered with something else: {why}"))
}

fn not_asked(socket: &Path, problem: &str) -> Diagnostic {
    Diagnostic::error(Code::CheckNotAsked, problem)
        .at(Location::file(socket.as_os_str().as_bytes()))
        .run_when("to see whether ykwebd runs", Program::System, "systemctl status ykwebd")
        .advise("see that [check] socket is set in its configuration, and that this user is in the socket's group")
}
