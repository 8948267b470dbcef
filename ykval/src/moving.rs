//! Moves everything from one store to another, so that no OTP is accepted in both.
//!
//! The new store is not usable until it is complete ([`Stage::Filling`]). Everything is copied while the old one is in use.
//! Then the old one is fenced ([`Stage::Moving`]), which waits for what is being stored there; what has changed since is
//! copied, and compared. Only then the old store says for ever that it was moved ([`Stage::Moved`]), and after that the new
//! one becomes usable. Each of these is one durable step that depends on the one before, so a move that was killed at any
//! point goes on when it is run again. Until `Moved` is stored the new store was never usable, and the move can be abandoned.
//! A run that goes on records its number in both stores first, so that a former one that was only suspended writes nothing more.
//!
//! Keys are copied as they are sealed: both stores have the same store key.

use crate::store::{
    Client, Mark, MoveId, Moves, PAGE, Page, Retired, Rows, RunId, Stage, Store, StoreFault, Token,
};
use crate::{clock, random};
use std::collections::{HashMap, VecDeque};
use yubiotp::PublicId;
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::key::Fingerprint;

/// The result of a move.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Everything had been moved before; nothing was changed.
    pub was_done: bool,
    /// Clients that were copied, or had been.
    pub clients: u64,
    /// Tokens.
    pub tokens: u64,
    /// How long the old store accepted nothing before the new one was usable, in milliseconds, if it was fenced by this
    /// call.
    pub paused: Option<u128>,
}

/// A part of a move that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The old store is in use, and is copied.
    Copying,
    /// The old store accepts nothing any more; the rest is copied.
    Fenced,
    /// The copy was compared, and is complete.
    Complete,
}

/// Rows that are stored in one transaction.
const AT_ONCE: usize = 5 * PAGE;

/// How often the rest is copied until nothing differs. The second time nothing should.
const PASSES: usize = 3;

/// Moves everything from `from` to `to`, both opened to be moved ([`Store::open_to_move`]). Run it again after any failure.
///
/// # Errors
/// Why it could not begin, or go on. If it had begun, it goes on when it is run again.
pub async fn run(from: &Store, to: &Store, mut tell: impl FnMut(Part)) -> Result<Done, Diagnostic> {
    same_store_key(from, to).await?;
    let (mut here, mut there) = (from.moves().await?, to.moves().await?);
    let counted = |was_done| async move {
        let count = to.count().await?;
        Ok(Done { was_done, clients: count.clients, tokens: count.tokens, paused: None })
    };
    if is_done(&here, &there) {
        return counted(true).await;
    }
    let run = new_run()?;
    let id = match going_on(&here, &there) {
        Some(id) => {
            take_over(to, &mut there, run).await?;
            take_over(from, &mut here, run).await?;
            id
        }
        None => begin(from, to, run, &mut here, &mut there).await?,
    };
    let mark =
        |stage, other: &Store| Mark { stage, id, run, since: clock::now(), other: other.at().to_owned() };
    let stage = |moves: &Moves| moves.mark.as_ref().map(|mark| mark.stage);
    if stage(&here) == Some(Stage::Copying) {
        tell(Part::Copying);
        copy(from, to, run, &there, &here).await?;
        let fenced = Moves { mark: Some(mark(Stage::Moving, to)), ..here.clone() };
        set(from, &mut here, fenced).await?;
    }
    let fenced = std::time::Instant::now();
    tell(Part::Fenced);
    same_store_key(from, to).await?;
    let mut passes = 0;
    while copy(from, to, run, &there, &here).await? > 0 {
        passes += 1;
        if passes == PASSES {
            let problem = "what is stored there is not what was copied";
            return Err(Diagnostic::error(Code::DatabaseFailed, problem).at(to.location()));
        }
    }
    tell(Part::Complete);
    let was_fenced_here = stage(&here) == Some(Stage::Moving);
    if was_fenced_here {
        let mut complete = here.complete.clone();
        complete.push(id);
        set(from, &mut here, Moves { mark: Some(mark(Stage::Moved, to)), complete }).await?;
    }
    let usable = Moves { mark: None, complete: here.complete.clone() };
    // It may have been given up while this run was suspended.
    if from.moves().await?.mark.as_ref() != here.mark.as_ref() {
        return Err(another(from));
    }
    set(to, &mut there, usable).await?;
    let paused = was_fenced_here.then(|| fenced.elapsed().as_millis());
    Ok(Done { paused, ..counted(false).await? })
}

/// What became of a move that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned {
    /// Whether the old store was fenced.
    pub was_fenced: bool,
    /// Since when its tokens are restored: the move was complete, and the new store is lost.
    pub restored_since: Option<i64>,
}

/// Makes the old store usable again, unless the new one may be in use.
///
/// `to_is_lost`: the administrator stated that the new store is lost, and that no server ever uses it again, or one that it was
/// moved to. Then this also ends a move that was complete. Which OTPs were accepted in the new store is not known, so in the
/// same step every token of the old one becomes restored: two touches prove that its OTPs are newer than all of those.
///
/// # Errors
/// The move is complete, or the store could not be changed.
pub async fn abandon(from: &Store, to_is_lost: bool) -> Result<Abandoned, Diagnostic> {
    let mut here = from.moves().await?;
    match &here.mark {
        None => Ok(Abandoned { was_fenced: false, restored_since: None }),
        Some(mark) if mark.stage == Stage::Moved && to_is_lost => {
            let restored_since = Some(mark.since);
            // It does not have everything that the new one had.
            let complete = here.complete.iter().copied().filter(|id| *id != mark.id).collect();
            let usable = Moves { mark: None, complete };
            if !from.set_moves_restored(&here, &usable, mark.since).await? {
                return Err(another(from));
            }
            Ok(Abandoned { was_fenced: true, restored_since })
        }
        Some(mark) if matches!(mark.stage, Stage::Copying | Stage::Moving) => {
            let was_fenced = mark.stage == Stage::Moving;
            // Keeps the number of the move, so that it can begin again with the same new store. A run that goes on now stops.
            let mark = Mark { stage: Stage::Copying, run: new_run()?, since: clock::now(), ..mark.clone() };
            let usable = Moves { mark: Some(mark), ..here.clone() };
            set(from, &mut here, usable).await?;
            Ok(Abandoned { was_fenced, restored_since: None })
        }
        Some(mark) => Err(refused(from, mark).run_when(
            "it is too late to abandon the move, since the new store may be in use. To go back",
            Program::Ykvald,
            "move-store NEW OLD",
        )
        .run_when(
            "only if the new store is lost for good, and no server ever uses it again. Each token then has to prove by two \
             touches that it is fresh",
            Program::Ykvald,
            "move-store --abandon --to-is-lost OLD",
        )),
    }
}

fn new_run() -> Result<RunId, Diagnostic> {
    Ok(RunId(MoveId(random::bytes()?)))
}

/// From now on, this run writes, and no former one.
async fn take_over(store: &Store, now: &mut Moves, run: RunId) -> Result<(), Diagnostic> {
    let mark = now.mark.clone().map(|mark| Mark { run, ..mark });
    let taken = Moves { mark, ..now.clone() };
    set(store, now, taken).await
}

/// Whether everything was moved before.
fn is_done(here: &Moves, there: &Moves) -> bool {
    let moved = here.mark.as_ref().filter(|mark| mark.stage == Stage::Moved);
    moved.is_some_and(|mark| there.complete.contains(&mark.id))
}

/// The move from the one to the other that began before.
fn going_on(here: &Moves, there: &Moves) -> Option<MoveId> {
    let (here, there) = (here.mark.as_ref()?, there.mark.as_ref()?);
    let goes_on = here.id == there.id && here.stage != Stage::Filling && there.stage == Stage::Filling;
    goes_on.then_some(here.id)
}

async fn begin(
    from: &Store,
    to: &Store,
    run: RunId,
    here: &mut Moves,
    there: &mut Moves,
) -> Result<MoveId, Diagnostic> {
    // A new store of a move that was not complete was never usable: another one may take its place.
    if let Some(mark) = here.mark.as_ref().filter(|mark| matches!(mark.stage, Stage::Moved | Stage::Filling))
    {
        return Err(refused(from, mark));
    }
    // A run that was killed may still write the number of the move that it began: another one would never fit to that.
    let begun = here.mark.as_ref().filter(|mark| mark.other == to.at()).map(|mark| mark.id);
    let id = match begun {
        Some(id) => id,
        None => MoveId(random::bytes()?),
    };
    let stage = if here.is_fenced() { Stage::Moving } else { Stage::Copying };
    let mark =
        |stage, other: &Store| Mark { stage, id, run, since: clock::now(), other: other.at().to_owned() };
    let before = here.clone();
    let begun = Moves { mark: Some(mark(stage, to)), ..here.clone() };
    set(from, here, begun).await?;
    let may = if to.moves().await?.mark.is_some_and(|mark| mark.run == run) {
        Err(Diagnostic::error(Code::CommandLineInvalid, "both are the same store").at(to.location()))
    } else {
        may_be_filled(to, here, there).await
    };
    if let Err(found) = may {
        set(from, here, before).await?;
        return Err(found);
    }
    let filling = Moves { mark: Some(mark(Stage::Filling, from)), ..there.clone() };
    set(to, there, filling).await?;
    Ok(id)
}

/// Whether this store can become the new one: it is empty, or the old one was made from it.
async fn may_be_filled(to: &Store, here: &Moves, there: &Moves) -> Result<(), Diagnostic> {
    match &there.mark {
        None => {
            let count = to.count().await?;
            if count.clients == 0 && count.tokens == 0 && to.retired().await?.is_empty() {
                return Ok(());
            }
            let problem = "has clients or tokens already, which a move would mix with others";
            Err(Diagnostic::error(Code::DatabaseNotEmpty, problem)
                .at(to.location())
                .advise("name a new file, or an empty database"))
        }
        Some(mark) if mark.stage == Stage::Moved && comes_from(here, there) => Ok(()),
        Some(mark) => Err(refused(to, mark)),
    }
}

/// Whether the old store has everything that the new one has: it was made from it.
fn comes_from(here: &Moves, there: &Moves) -> bool {
    !there.complete.is_empty() && there.complete.iter().all(|id| here.complete.contains(id))
}

fn refused(store: &Store, mark: &Mark) -> Diagnostic {
    StoreFault::Moved { at: store.location(), mark: Box::new(mark.clone()) }.diagnostic()
}

/// Records a step of a move, if nothing else was recorded meanwhile.
async fn set(store: &Store, now: &mut Moves, next: Moves) -> Result<(), Diagnostic> {
    if store.set_moves(now, &next).await? {
        *now = next;
        return Ok(());
    }
    Err(another(store))
}

fn another(store: &Store) -> Diagnostic {
    let problem = "another command moves it, or has ended its move";
    Diagnostic::error(Code::DatabaseMoveUnfinished, problem).at(store.location()).run_when(
        "when the other one has ended",
        Program::Ykvald,
        "move-store FROM TO",
    )
}

/// What is sealed is copied as it is.
async fn same_store_key(from: &Store, to: &Store) -> Result<(), Diagnostic> {
    let (given, wanted) = (from.store_key_now().await?, to.store_key_now().await?);
    if given == wanted {
        return Ok(());
    }
    let problem = format!("is sealed under store key {wanted}, and {} under {given}", from.at());
    Err(Diagnostic::error(Code::DatabaseUnderOtherStoreKey, problem).at(to.location()).run_when(
        "if the store key is being replaced, finish that first",
        Program::Ykvald,
        "key rotate-store-key status",
    ))
}

/// Copies what differs. Returns how many clients and tokens did.
async fn copy(
    from: &Store,
    to: &Store,
    run: RunId,
    there: &Moves,
    here: &Moves,
) -> Result<usize, Diagnostic> {
    let mut copied = copy_small(from, to, run, there, here).await?;
    let mut known = Ahead::of(to);
    let (mut after, mut rows) = (None::<PublicId>, Rows::default());
    loop {
        let Page { tokens, retired } = from.page(after.as_ref()).await?;
        let (is_last, former) = (tokens.len() < PAGE, by_token(retired));
        after = tokens.last().map(|token| token.id).or(after);
        for token in tokens {
            let is_there = known.find(&token.id).await?;
            let known = known.former(&token.id);
            let former = former.get(&token.id).map_or(&[][..], Vec::as_slice);
            let (token, former) = of_former_keys(token, former);
            let is_new = is_there.is_none_or(|there| differs(&token, &there));
            let is_kept =
                |one: &Retired| known.iter().any(|it| it.key == one.key && it.position >= one.position);
            if is_new || !former.iter().all(is_kept) {
                // Counted only if what can be seen of the token differs: a store need not tell every position that it keeps.
                copied = copied.saturating_add(usize::from(is_new));
                rows.tokens.push(token);
                rows.retired.extend(former);
            }
        }
        if !rows.is_empty() && (is_last || rows.tokens.len() >= AT_ONCE) {
            fill(to, run, std::mem::take(&mut rows)).await?;
        }
        if is_last {
            return Ok(copied);
        }
    }
}

fn by_token(retired: Vec<Retired>) -> HashMap<PublicId, Vec<Retired>> {
    let mut of_each: HashMap<PublicId, Vec<Retired>> = HashMap::new();
    for one in retired {
        of_each.entry(one.id).or_default().push(one);
    }
    of_each
}

/// The positions of the keys that a token does not have now. What is kept for the key that it has counts for the token.
fn of_former_keys(token: Token, kept: &[Retired]) -> (Token, Vec<Retired>) {
    let current = token.position_of();
    let is_of_it = |one: &&Retired| one.key == current && current != Fingerprint::ELSEWHERE;
    let own = kept.iter().find(is_of_it).map(|one| one.position);
    let former = kept.iter().filter(|one| !is_of_it(one)).copied().collect();
    (token.raised_to(None, own), former)
}

/// Clients, and what concerns restored tokens.
async fn copy_small(
    from: &Store,
    to: &Store,
    run: RunId,
    there: &Moves,
    here: &Moves,
) -> Result<usize, Diagnostic> {
    let clients: HashMap<_, _> = to.clients().await?.into_iter().map(|client| (client.id, client)).collect();
    let differs = |client: &Client| clients.get(&client.id) != Some(client);
    let clients = from.clients().await?.into_iter().filter(differs).collect::<Vec<_>>();

    let touched: HashMap<_, _> = to.touches().await?.into_iter().collect();
    let touches = from.touches().await?.into_iter().filter(|(id, touch)| touched.get(id) != Some(touch));
    let touches: Vec<_> = touches.collect();

    let (since, known) = (from.restored_since().await?, to.restored_since().await?);
    // What was accepted from a new store before it was lost is in neither.
    let since = if comes_from(here, there) { since } else { earlier(since, known) };
    let rows = clients.len().saturating_add(touches.len());
    let rows = rows.saturating_add(usize::from(since != known));
    let restored_since = (since != known).then_some(since);
    if rows > 0 {
        fill(to, run, Rows { clients, touches, restored_since, ..Rows::default() }).await?;
    }
    Ok(rows)
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

async fn fill(to: &Store, run: RunId, rows: Rows) -> Result<(), Diagnostic> {
    if to.fill(run, rows).await? { Ok(()) } else { Err(another(to)) }
}

/// Whether the copy of a token lacks something.
fn differs(token: &Token, there: &Token) -> bool {
    let same = there.key == token.key && there.enabled == token.enabled && there.restored == token.restored;
    let position = there.position.cmp(&token.position);
    let request = there.nonce == token.nonce && there.modified == token.modified;
    !same || position.is_lt() || (position.is_eq() && !request)
}

/// The tokens of a store, asked for in bytewise order.
struct Ahead<'a> {
    store: &'a Store,
    page: VecDeque<Token>,
    /// The positions of former keys, of the tokens of this page.
    former: HashMap<PublicId, Vec<Retired>>,
    after: Option<PublicId>,
    is_last: bool,
}

impl<'a> Ahead<'a> {
    fn of(store: &'a Store) -> Self {
        Self { store, page: VecDeque::new(), former: HashMap::new(), after: None, is_last: false }
    }

    /// This token; each call names a higher one.
    async fn find(&mut self, id: &PublicId) -> Result<Option<Token>, StoreFault> {
        loop {
            while self.page.front().is_some_and(|token| token.id <= *id) {
                let token = self.page.pop_front();
                if token.as_ref().is_some_and(|token| token.id == *id) {
                    return Ok(token);
                }
            }
            if !self.page.is_empty() || self.is_last {
                return Ok(None);
            }
            let Page { tokens, retired } = self.store.page(self.after.as_ref()).await?;
            self.is_last = tokens.len() < PAGE;
            self.after = tokens.last().map(|token| token.id).or(self.after);
            (self.page, self.former) = (tokens.into(), by_token(retired));
        }
    }

    /// The positions of the former keys of the token that was found last.
    fn former(&self, id: &PublicId) -> &[Retired] {
        self.former.get(id).map_or(&[], Vec::as_slice)
    }
}
