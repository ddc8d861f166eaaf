//! What is compared: which filter stands in Envoy, and what is asked of it. Data only.

use super::Plan;

/// What the tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alg {
    Rs256,
    Es256,
    Hs256,
}

impl Alg {
    /// The stand-in's provider that signs so.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Rs256 => "rs",
            Self::Es256 => "es",
            Self::Hs256 => "hs",
        }
    }
}

/// An Envoy, by what is in its filter chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Site {
    /// The router alone.
    Plain,
    /// A Wasm module that exports what it must and does nothing.
    Noop {
        workers: u32,
    },
    /// A Wasm module that makes the host calls of a cached Bearer request, and decides nothing.
    Floor(Floor),
    Filter(Filter),
    Jwt {
        alg: Alg,
        has_cache: bool,
        has_headers: bool,
    },
    /// Its authorization server is another Envoy that always says yes.
    ExtAuthz {
        /// As authentik's outpost: with the twelve headers, which the request takes over.
        has_headers: bool,
    },
}

/// A configuration of this filter; what is not said is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filter {
    pub(crate) alg: Alg,
    pub(crate) has_sessions: bool,
    /// As many headers as `jwt_authn` sets, instead of twelve.
    pub(crate) has_six_headers: bool,
    pub(crate) local_entries: u32,
    pub(crate) providers: usize,
    /// They come from authentik's API.
    pub(crate) are_listed: bool,
    pub(crate) workers: u32,
    /// In shadow mode, behind `ext_authz` that brings the twelve headers.
    pub(crate) is_shadow: bool,
    /// As many users have signed out as the list of ended sessions has room for.
    pub(crate) has_full_list: bool,
}

impl Filter {
    pub(crate) const fn new(alg: Alg) -> Self {
        Self {
            alg,
            has_sessions: true,
            has_six_headers: false,
            local_entries: 1024,
            providers: 1,
            are_listed: false,
            workers: 1,
            is_shadow: false,
            has_full_list: false,
        }
    }

    const fn with_full_list(self) -> Self {
        Self { has_full_list: true, ..self }
    }

    const fn in_shadow_mode(self) -> Self {
        Self { is_shadow: true, ..self }
    }

    const fn without_sessions(self) -> Self {
        Self { has_sessions: false, ..self }
    }

    const fn with_six_headers(self) -> Self {
        Self { has_six_headers: true, ..self }
    }
}

/// Which request's host calls a module makes that decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Floor {
    TwelveHeaders,
    SixHeaders,
    /// With a check of one RS256 signature.
    FirstSight,
    SessionCookie,
}

impl Site {
    pub(crate) fn workers(self) -> u32 {
        match self {
            Self::Filter(Filter { workers, .. }) | Self::Noop { workers } => workers,
            _ => 1,
        }
    }

    pub(crate) fn authenticates(self) -> bool {
        match self {
            Self::Filter(filter) => !filter.is_shadow,
            Self::Jwt { .. } => true,
            Self::Plain | Self::Noop { .. } | Self::Floor(_) | Self::ExtAuthz { .. } => false,
        }
    }

    pub(crate) fn alg(self) -> Alg {
        match self {
            Self::Filter(Filter { alg, .. }) | Self::Jwt { alg, .. } => alg,
            _ => Alg::Rs256,
        }
    }
}

/// What the requests of a variant have in their headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asks {
    /// One token of about 1 KiB, again and again.
    Bearer,
    Basic,
    Session,
    /// More session cookies than the filter remembers, in turn, each of an app password of its own.
    FreshSessions,
    /// No credential, and no browser.
    Nothing,
    /// More tokens than the filter remembers, in turn: each is one that it does not know.
    Fresh(Alg),
    /// So many tokens, in turn.
    Distinct(usize),
    /// One token of a user with so many groups.
    Groups(usize),
}

impl Asks {
    fn name(self) -> String {
        match self {
            Self::Bearer => "Bearer".to_owned(),
            Self::Basic => "Basic".to_owned(),
            Self::Session => "session cookie".to_owned(),
            Self::FreshSessions => "session cookies in turn".to_owned(),
            Self::Nothing => "no credential".to_owned(),
            Self::Fresh(alg) => format!("{alg:?} tokens in turn"),
            Self::Distinct(count) => format!("{count} credentials"),
            Self::Groups(count) => format!("{count} groups"),
        }
    }
}

/// One row.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) site: Site,
    pub(crate) asks: Asks,
    /// Belongs to the second table.
    pub(crate) is_growth: bool,
}

impl Variant {
    pub(crate) fn status(&self) -> u16 {
        match (self.site, self.asks) {
            (Site::Filter(_), Asks::Nothing) => 401,
            _ => 200,
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.site, Site::Filter(_))
    }
}

/// Both tables: baselines first, then peers and this filter.
pub(crate) fn all(plan: &Plan) -> Vec<Variant> {
    use Alg::{Es256, Hs256, Rs256};
    let jwt = |alg, has_cache, has_headers| Site::Jwt { alg, has_cache, has_headers };
    let (rs, hs) = (Filter::new(Rs256), Filter::new(Hs256).without_sessions());
    let growing = Filter { local_entries: 16_384, ..hs };
    let main = [
        ("no filter", Site::Plain, Asks::Bearer),
        ("no-op Wasm module", Site::Noop { workers: 1 }, Asks::Bearer),
        ("host calls alone, twelve headers", Site::Floor(Floor::TwelveHeaders), Asks::Bearer),
        ("host calls alone, six headers", Site::Floor(Floor::SixHeaders), Asks::Bearer),
        ("host calls alone, session cookie", Site::Floor(Floor::SessionCookie), Asks::Session),
        ("jwt_authn, cached, no headers", jwt(Rs256, true, false), Asks::Bearer),
        ("jwt_authn, cached, six headers", jwt(Rs256, true, true), Asks::Bearer),
        ("this filter, Bearer cached, six headers", Site::Filter(rs.with_six_headers()), Asks::Bearer),
        (
            "this filter, Bearer cached, six headers, no sessions",
            Site::Filter(rs.with_six_headers().without_sessions()),
            Asks::Bearer,
        ),
        ("this filter, Bearer cached, twelve headers", Site::Filter(rs), Asks::Bearer),
        (
            "this filter, Bearer cached, twelve headers, no sessions",
            Site::Filter(rs.without_sessions()),
            Asks::Bearer,
        ),
        ("this filter, Basic cached", Site::Filter(rs), Asks::Basic),
        ("this filter, session cookie", Site::Filter(rs), Asks::Session),
        ("this filter, session cookie, first sight", Site::Filter(rs), Asks::FreshSessions),
        (
            "this filter, Bearer cached, full list of ended sessions",
            Site::Filter(rs.with_full_list()),
            Asks::Bearer,
        ),
        (
            "this filter, session cookie, full list of ended sessions",
            Site::Filter(rs.with_full_list()),
            Asks::Session,
        ),
        ("this filter, no credential: 401", Site::Filter(rs), Asks::Nothing),
        (
            "ext_authz to an Envoy that says yes with twelve headers",
            Site::ExtAuthz { has_headers: true },
            Asks::Bearer,
        ),
        ("ext_authz to an Envoy that says yes", Site::ExtAuthz { has_headers: false }, Asks::Bearer),
        (
            "this filter in shadow mode, Bearer cached, behind ext_authz with twelve headers",
            Site::Filter(rs.in_shadow_mode()),
            Asks::Bearer,
        ),
        ("host calls alone, RS256 first sight", Site::Floor(Floor::FirstSight), Asks::Fresh(Rs256)),
        ("jwt_authn, RS256 first sight, no headers", jwt(Rs256, false, false), Asks::Fresh(Rs256)),
        ("jwt_authn, RS256 first sight, six headers", jwt(Rs256, false, true), Asks::Fresh(Rs256)),
        ("this filter, RS256 first sight", Site::Filter(rs), Asks::Fresh(Rs256)),
        (
            "this filter, RS256 first sight, no sessions",
            Site::Filter(rs.without_sessions()),
            Asks::Fresh(Rs256),
        ),
        ("jwt_authn, ES256 first sight, no headers", jwt(Es256, false, false), Asks::Fresh(Es256)),
        ("jwt_authn, ES256 first sight, six headers", jwt(Es256, false, true), Asks::Fresh(Es256)),
        (
            "this filter, ES256 first sight, no sessions",
            Site::Filter(Filter::new(Es256).without_sessions()),
            Asks::Fresh(Es256),
        ),
        ("jwt_authn, HS256 first sight, six headers", jwt(Hs256, false, true), Asks::Fresh(Hs256)),
        ("this filter, HS256 first sight, no sessions", Site::Filter(hs), Asks::Fresh(Hs256)),
    ];
    let growth = [
        ("1 credential, 1 group, 1 provider, 1 worker", Site::Filter(growing), Asks::Distinct(1)),
        ("100 credentials", Site::Filter(growing), Asks::Distinct(100)),
        ("1,000 credentials", Site::Filter(growing), Asks::Distinct(1_000)),
        ("10,000 credentials", Site::Filter(growing), Asks::Distinct(10_000)),
        ("50 groups", Site::Filter(growing), Asks::Groups(50)),
        ("100 providers", Site::Filter(Filter { providers: 100, ..hs }), Asks::Distinct(1)),
        (
            "100 providers from authentik",
            Site::Filter(Filter { providers: 100, are_listed: true, ..hs }),
            Asks::Distinct(1),
        ),
        ("2 workers", Site::Filter(Filter { workers: 2, ..hs }), Asks::Distinct(1)),
    ];
    let variant = |is_growth| {
        move |(name, site, asks): (&str, _, _)| Variant { name: name.to_owned(), site, asks, is_growth }
    };
    let mut variants: Vec<_> = main.into_iter().map(variant(false)).collect();
    variants.extend(
        growth
            .into_iter()
            .map(variant(true))
            .filter(|it| !plan.is_quick || it.asks != Asks::Distinct(10_000)),
    );
    if plan.module.is_some() {
        variants.retain(Variant::is_ours);
    }
    if let Some(only) = &plan.only {
        variants.retain(|it| it.name.contains(only));
    }
    // What the same requests cost without a filter.
    let has_plain = variants.iter().any(|it| it.site == Site::Plain);
    let mut asked: Vec<_> = variants
        .iter()
        .filter(|it| it.asks != Asks::Bearer || !has_plain)
        .map(|it| (it.asks, it.is_growth))
        .collect();
    asked.sort();
    asked.dedup_by_key(|(asks, _)| *asks);
    let baseline = |(asks, is_growth): (Asks, bool)| Variant {
        name: format!("no filter, {}", asks.name()),
        site: Site::Plain,
        asks,
        is_growth,
    };
    variants.extend(asked.into_iter().map(baseline));
    variants
}
