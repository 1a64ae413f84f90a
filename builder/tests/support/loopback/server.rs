//! A small HTTP/1.1 server: GET and HEAD of files in memory, with ranges, redirections, bearer tokens, and
//! answers that fail, stall or break off on request. It remembers what it was asked, and counts what it sent.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const TOKEN: &str = "fixture-token";

/// Serves until it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What stands at a path.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Bytes, with their media type.
    File(Vec<u8>, String),
    /// 302 to another path or URL.
    Redirect(String),
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The value of `Range`.
    pub range: Option<String>,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// The value of `Private-Token`.
    pub private_token: Option<String>,
    /// What came with a POST.
    pub body: String,
}

/// An answer that is no success.
#[derive(Clone, Debug)]
struct Failure {
    status: String,
    headers: String,
    times: usize,
}

/// A connection that breaks.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Bytes of a body that still pass.
    after: usize,
    /// How many more answers break.
    times: usize,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<BTreeMap<String, Answer>>,
    cuts: Mutex<BTreeMap<String, Cut>>,
    failures: Mutex<BTreeMap<String, Failure>>,
    /// Paths whose bodies never end.
    stalls: Mutex<BTreeMap<String, usize>>,
    /// How long each answer takes.
    delay: Mutex<Duration>,
    busy: AtomicUsize,
    busiest: AtomicUsize,
    /// What the token server wants in the body of a POST.
    refresh_token: Mutex<Option<String>>,
    log: Mutex<Vec<Asked>>,
    closed: AtomicBool,
    /// Paths below `/v2/` want a token from `/token`, as Docker's registry does.
    guarded: AtomicBool,
    /// Every answer is a whole file, as from servers that know no ranges.
    whole: AtomicBool,
    /// How many bytes go at a time, and how long it takes until the next go.
    pace: Mutex<Option<(usize, Duration)>>,
    /// Held during a pause, so that all connections share the pace.
    turn: Mutex<()>,
    /// Bytes of bodies that went out, by path.
    served: Mutex<BTreeMap<String, u64>>,
    /// Woken whenever more went out.
    went: Condvar,
}

impl Server {
    /// On a free port, with nothing to serve.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if served.closed.load(Ordering::SeqCst) {
                    return;
                }
                let served = Arc::clone(&served);
                // A client that hangs up early is no fault of the server's.
                std::thread::spawn(move || connection.and_then(|c| served.serve(c, address)));
            }
        });
        Server {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// The URL of `path`, which starts with a slash or is empty.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Serves `bytes` at `path`.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.answer(
            path,
            Answer::File(bytes.into(), "application/octet-stream".into()),
        );
    }

    /// Serves `answer` at `path`.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.shared
            .answers
            .lock()
            .unwrap()
            .insert(path.to_owned(), answer);
    }

    /// Takes away what stands at `path`, which must be something.
    pub fn remove(&self, path: &str) -> Answer {
        let removed = self.shared.answers.lock().unwrap().remove(path);
        removed.unwrap_or_else(|| panic!("nothing stands at {path}"))
    }

    /// The bytes at `path`.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        match self.shared.answers.lock().unwrap().get(path) {
            Some(Answer::File(bytes, _)) => bytes.clone(),
            other => panic!("{path} is {other:?}"),
        }
    }

    /// The media type of what is at `path`.
    pub fn media_type(&self, path: &str) -> String {
        match self.shared.answers.lock().unwrap().get(path) {
            Some(Answer::File(_, media_type)) => media_type.clone(),
            other => panic!("{path} is {other:?}"),
        }
    }

    /// Breaks the next `times` answers with the body of `path` after `after` bytes.
    pub fn cut(&self, path: &str, after: usize, times: usize) {
        let cut = Cut { after, times };
        self.shared
            .cuts
            .lock()
            .unwrap()
            .insert(path.to_owned(), cut);
    }

    /// Answers the next `times` requests for `path` with `status`, such as `503 Service Unavailable`; `headers` are
    /// whole lines.
    pub fn fail(&self, path: &str, status: &str, headers: &str, times: usize) {
        let failure = Failure {
            status: status.to_owned(),
            headers: headers.to_owned(),
            times,
        };
        self.shared
            .failures
            .lock()
            .unwrap()
            .insert(path.to_owned(), failure);
    }

    /// The next `times` bodies of `path` stop after one byte, and the connection stays open.
    pub fn stall(&self, path: &str, times: usize) {
        self.shared
            .stalls
            .lock()
            .unwrap()
            .insert(path.to_owned(), times);
    }

    /// Every answer takes so long from now on.
    pub fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// How many requests were being answered at once at most.
    pub fn busiest(&self) -> usize {
        self.shared.busiest.load(Ordering::SeqCst)
    }

    /// From now on tokens are for those alone who post this one.
    pub fn want_refresh_token(&self, token: &str) {
        *self.shared.refresh_token.lock().unwrap() = Some(token.to_owned());
    }

    /// From now on asks for a token below `/v2/`.
    pub fn guard(&self) {
        self.shared.guarded.store(true, Ordering::SeqCst);
    }

    /// From now on heeds no range.
    pub fn ignore_ranges(&self) {
        self.shared.whole.store(true, Ordering::SeqCst);
    }

    /// From now on sends bodies slowly: `chunk` bytes, then a pause, all connections taking turns.
    pub fn pace(&self, chunk: usize, pause: Duration) {
        *self.shared.pace.lock().unwrap() = Some((chunk, pause));
    }

    /// How many bytes of bodies went out, by path.
    pub fn served(&self) -> BTreeMap<String, u64> {
        self.shared.served.lock().unwrap().clone()
    }

    /// Waits until that many bytes of bodies went out in all, or `patience` is over; says whether they did.
    pub fn wait_until_served(&self, bytes: u64, patience: Duration) -> bool {
        let served = self.shared.served.lock().unwrap();
        let short = |served: &mut BTreeMap<String, u64>| served.values().sum::<u64>() < bytes;
        let waited = self.shared.went.wait_timeout_while(served, patience, short);
        !waited.unwrap().1.timed_out()
    }

    /// What was asked since the last call, in order of arrival.
    pub fn take_log(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.log.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut connection: TcpStream, address: SocketAddr) -> io::Result<()> {
        let asked = read_request(&connection)?;
        self.log.lock().unwrap().push(asked.clone());
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.busiest.fetch_max(busy, Ordering::SeqCst);
        let delay = *self.delay.lock().unwrap();
        std::thread::sleep(delay);
        // Before the answer: whoever has it may ask again at once.
        self.busy.fetch_sub(1, Ordering::SeqCst);
        self.answer(&mut connection, address, &asked)
    }

    fn answer(
        &self,
        connection: &mut TcpStream,
        address: SocketAddr,
        asked: &Asked,
    ) -> io::Result<()> {
        if let Some(failure) = self.failures.lock().unwrap().get_mut(&asked.path)
            && failure.times > 0
        {
            failure.times -= 1;
            let (status, headers) = (failure.status.clone(), failure.headers.clone());
            return respond(connection, &status, &headers, 0, b"");
        }
        let guarded = self.guarded.load(Ordering::SeqCst) && asked.path.starts_with("/v2/");
        if guarded && asked.authorization.as_deref() != Some(&format!("Bearer {TOKEN}")) {
            let challenge = format!(
                "WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"fixture\"\r\n"
            );
            return respond(connection, "401 Unauthorized", &challenge, 0, b"");
        }
        if asked.path == "/token" {
            let wanted = self.refresh_token.lock().unwrap().clone();
            let given = |token: &String| asked.body.contains(&format!("refresh_token={token}&"));
            let given =
                |token| given(token) || asked.body.ends_with(&format!("refresh_token={token}"));
            if wanted.as_ref().is_some_and(|token| !given(token)) {
                return respond(connection, "401 Unauthorized", "", 0, b"");
            }
            let body = format!("{{\"token\":\"{TOKEN}\"}}");
            return respond(connection, "200 OK", "", body.len(), body.as_bytes());
        }
        if asked.path == "/v2/" {
            return respond(connection, "200 OK", "", 2, b"{}");
        }
        let answer = self.answers.lock().unwrap().get(&asked.path).cloned();
        match answer {
            None => respond(connection, "404 Not Found", "", 0, b""),
            Some(Answer::Redirect(to)) => {
                let location = format!("Location: {to}\r\n");
                respond(connection, "302 Found", &location, 0, b"")
            }
            Some(Answer::File(bytes, media_type)) => {
                self.send(connection, asked, &bytes, &media_type)
            }
        }
    }

    fn send(
        &self,
        connection: &mut TcpStream,
        asked: &Asked,
        bytes: &[u8],
        media_type: &str,
    ) -> io::Result<()> {
        let mut headers = format!("Content-Type: {media_type}\r\nAccept-Ranges: bytes\r\n");
        let heeded = |_: &&String| !self.whole.load(Ordering::SeqCst);
        let (status, range) = match asked.range.as_ref().filter(heeded) {
            None => ("200 OK", 0..bytes.len()),
            Some(text) => match parse_range(text, bytes.len()) {
                Some(range) => {
                    let last = range.end - 1;
                    headers += &format!(
                        "Content-Range: bytes {}-{last}/{}\r\n",
                        range.start,
                        bytes.len()
                    );
                    ("206 Partial Content", range)
                }
                None => return respond(connection, "416 Range Not Satisfiable", "", 0, b""),
            },
        };
        let body = &bytes[range];
        if let Some(times) = self.stalls.lock().unwrap().get_mut(&asked.path)
            && *times > 0
            && asked.method != "HEAD"
        {
            *times -= 1;
            respond(connection, status, &headers, body.len(), &body[..1])?;
            // The client hangs up, or the test ends.
            let mut rest = [0; 1];
            return io::Read::read(connection, &mut rest).map(|_| ());
        }
        let sent = match asked.method.as_str() {
            "HEAD" => 0,
            _ => self.length_before_cut(&asked.path, body.len()),
        };
        respond(connection, status, &headers, body.len(), b"")?;
        let pace = *self.pace.lock().unwrap();
        let (chunk, pause) = pace.unwrap_or((body.len().max(1), Duration::ZERO));
        for part in body[..sent].chunks(chunk) {
            connection.write_all(part)?;
            let mut served = self.served.lock().unwrap();
            *served.entry(asked.path.clone()).or_default() += part.len() as u64;
            drop(served);
            self.went.notify_all();
            if !pause.is_zero() {
                let _turn = self.turn.lock().unwrap();
                std::thread::sleep(pause);
            }
        }
        connection.flush()
    }

    fn length_before_cut(&self, path: &str, len: usize) -> usize {
        match self.cuts.lock().unwrap().get_mut(path) {
            Some(cut) if cut.times > 0 => {
                cut.times -= 1;
                cut.after.min(len)
            }
            _ => len,
        }
    }
}

fn read_request(connection: &TcpStream) -> io::Result<Asked> {
    let mut reader = BufReader::new(connection);
    let mut lines = (&mut reader).lines();
    let first = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let (mut range, mut authorization, mut private_token) = (None, None, None);
    let mut length = 0;
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "range" => range = Some(value),
            "authorization" => authorization = Some(value),
            "private-token" => private_token = Some(value),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    io::Read::read_exact(&mut reader, &mut body)?;
    Ok(Asked {
        method,
        path: path.to_owned(),
        range,
        authorization,
        private_token,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// `bytes=A-` or `bytes=A-B`, if it begins inside a body of `len` bytes.
fn parse_range(text: &str, len: usize) -> Option<Range<usize>> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let from: usize = from.parse().ok()?;
    let end = match to {
        "" => len,
        to => to.parse::<usize>().ok()?.checked_add(1)?.min(len),
    };
    (from < end).then_some(from..end)
}

/// Announces `length` bytes and sends `body`; where that is less, the connection breaks in the middle.
fn respond(
    connection: &mut TcpStream,
    status: &str,
    headers: &str,
    length: usize,
    body: &[u8],
) -> io::Result<()> {
    write!(
        connection,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    connection.write_all(body)?;
    connection.flush()
}
