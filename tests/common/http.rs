//! A small HTTP/1.1 server for what a real registry does not do on request: misbehave, hand out tokens, redirect.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request, its body read or not (see [`Request::read_body`]).
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// The head as it came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    stream: TcpStream,
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    /// `127.0.0.1:<port>`.
    pub(crate) host: String,
    /// Everything that clients sent, in the order of arrival.
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    /// Requests that have come and are not answered.
    open: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

/// What stays of a request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1);
        lines
            .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value.trim())
    }

    /// What the head says.
    pub(crate) fn length(&self) -> usize {
        self.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Reads the body up to `most` bytes.
    pub(crate) fn read_body(&mut self, most: usize) {
        let missing = self.length().min(most).saturating_sub(self.body.len());
        // What a client that was killed did not send is missing then.
        let _ = (&self.stream).take(missing as u64).read_to_end(&mut self.body);
    }

    /// Answers with `head`, and then with `piece` again and again, `pause` apart, until the client has enough.
    pub(crate) fn pour(&mut self, head: &str, piece: &[u8], pause: Duration) -> Vec<u8> {
        self.read_body(usize::MAX);
        let mut sent = self.stream.write_all(head.as_bytes());
        while sent.is_ok() {
            std::thread::sleep(pause);
            sent = self.stream.write_all(piece);
        }
        Vec::new()
    }
}

/// A whole answer, after which the connection is closed.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
        .into_bytes()
}

impl Server {
    /// `handle` gives the bytes of the answer; none: the connection is closed without one.
    pub(crate) fn start(handle: impl Fn(&mut Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (stop, received) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let open = Arc::new(AtomicUsize::new(0));
        let (stopped, log, handle) = (Arc::clone(&stop), Arc::clone(&received), Arc::new(handle));
        let counter = Arc::clone(&open);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (log, handle, open) = (Arc::clone(&log), Arc::clone(&handle), Arc::clone(&counter));
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || serve(stream, &log, &open, &*handle));
            }
        });
        Self { host, received, open, stop }
    }

    /// Waits until every request that has come is answered: those of a client that was killed go on here.
    pub(crate) fn settle(&self) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(std::time::Instant::now() < deadline, "requests do not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.host);
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Received>>,
    open: &AtomicUsize,
    handle: &dyn Fn(&mut Request) -> Vec<u8>,
) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            // TLS, to which this server does not answer, begins with 0x16.
            Ok(read) if read > 0 && (piece[0] != 0x16 || !bytes.is_empty()) => bytes.extend_from_slice(&piece[..read]),
            _ => return,
        }
    };
    open.fetch_add(1, Ordering::SeqCst);
    let body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut request = Request { method, target, head, body, stream };
    let reply = handle(&mut request);
    let received = Received {
        method: request.method.clone(),
        target: request.target.clone(),
        head: request.head.clone(),
        body: request.body.clone(),
    };
    log.lock().unwrap().push(received);
    open.fetch_sub(1, Ordering::SeqCst);
    let _ = request.stream.write_all(&reply);
    let _ = request.stream.flush();
}

/// Passes a request on to `upstream`; its whole answer, made to end the connection.
pub(crate) fn forward(upstream: &str, request: &mut Request) -> Vec<u8> {
    request.read_body(usize::MAX);
    // A registry that has ended, at the end of a test, answers nothing.
    let Ok(mut stream) = TcpStream::connect(upstream) else { return Vec::new() };
    let head = request.head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut reply = Vec::new();
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&request.body));
    if sent.is_ok() && request.body.len() >= request.length() {
        let _ = stream.read_to_end(&mut reply);
    }
    reply
}
