//! An axum router on a loopback port, in a runtime of its own, so that it serves tests that block.
//! Owns the listener and every connection: `down` ends them all at once and lets connects be refused, `up`
//! serves again on the same port. A handler that is given [`Cut`] can end its connection without an answer
//! or in the middle of one. What is answered is the router's business.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// A router that serves, or is down and keeps its port.
pub struct Server {
    address: SocketAddr,
    router: Router,
    state: State,
}

enum State {
    Up(Runtime),
    /// Bound but not listening: connects are refused, and nobody else gets the port.
    Down {
        _kept: TcpSocket,
    },
    Between,
}

impl Server {
    /// Serves `router` on 127.0.0.1; port 0 is any free one.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(router: Router, port: u16) -> io::Result<Self> {
        let socket = bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let address = socket.local_addr()?;
        let state = State::Up(serve(router.clone(), socket)?);
        Ok(Self { address, router, state })
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends every connection, requests under way included; connects are refused from now on.
    pub fn down(&mut self) {
        if let State::Up(runtime) = std::mem::replace(&mut self.state, State::Between) {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
        self.state = State::Down { _kept: bind(self.address).expect("the server's own port") };
    }

    /// Serves again on the same port.
    pub fn up(&mut self) {
        if matches!(self.state, State::Up(_)) {
            return;
        }
        self.state = State::Between;
        let socket = bind(self.address).expect("the server's own port");
        self.state = State::Up(serve(self.router.clone(), socket).expect("listens on its own port"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let State::Up(runtime) = std::mem::replace(&mut self.state, State::Between) {
            runtime.shutdown_background();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn serve(router: Router, socket: TcpSocket) -> io::Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        Loopback(socket.listen(1024)?)
    };
    let service = router.into_make_service_with_connect_info::<Cut>();
    runtime.spawn(async move { axum::serve(listener, service).await });
    Ok(runtime)
}

/// Lets a handler cut the connection that its request came on.
#[derive(Clone)]
pub struct Cut(Arc<AtomicUsize>);

impl Cut {
    const NEVER: usize = usize::MAX;

    /// Nothing is sent any more, the connection closes.
    pub fn now(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// The connection closes after so many more bytes.
    pub fn after(&self, bytes: usize) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, Loopback>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Loopback>) -> Self {
        stream.io().cut.clone()
    }
}

/// The listener whose connections can be cut.
pub(crate) struct Loopback(TcpListener);

impl Listener for Loopback {
    type Io = Cuttable;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Cuttable, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        let _ = stream.set_nodelay(true);
        (Cuttable { stream, cut: Cut(Arc::new(AtomicUsize::new(Cut::NEVER))) }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that stops sending where [`Cut`] says.
pub(crate) struct Cuttable {
    stream: TcpStream,
    cut: Cut,
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.cut.0.load(Ordering::SeqCst);
        if left == Cut::NEVER {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let allowed = &bytes[..bytes.len().min(left)];
        let written = Pin::new(&mut self.stream).poll_write(context, allowed);
        if let Poll::Ready(Ok(count)) = written {
            self.cut.after(left - count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
