//! The ceiling: a server of the same crates as `ykvald` that says the same to everybody, with as many bytes as an
//! answer has. It is this program, started anew.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// The first argument.
pub(crate) const HELLO: &str = "says-hello";

const BODY: &str = "h=TO8409qUoRseQxgZmuDF1v6bze8=\r\nt=2026-11-22T00:30:01Z0284\r\n\
    otp=vvccccccccccidkfefrdhtrutjduvtcjbfeuvhehdvjj\r\nnonce=00000000000000000000000000000000\r\nsl=0\r\n\
    timestamp=12648500\r\nsessioncounter=1\r\nsessionuse=0\r\nstatus=OK\r\n\r\n";

/// It runs until it is dropped.
pub(crate) struct Hello {
    child: Child,
    pub address: SocketAddr,
}

impl Hello {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg(HELLO).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's work.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // A client that hangs up is gone.
                let _ = server.serve_connection(TokioIo::new(stream), service_fn(hello)).await;
            });
        }
    });
}

async fn hello(_: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder().header(CONTENT_TYPE, "text/plain");
    Ok(response.body(Full::new(Bytes::from_static(BODY.as_bytes()))).unwrap())
}
