//! The catalogue of codes.

use core::fmt::{self, Display};

macro_rules! codes {
    ($($variant:ident = $name:literal,)*) => {
        /// The kind of finding: one code for one cause, the same from version to version. `docs/reference/codes.md`
        /// has an entry for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
        }

        impl Code {
            /// All codes, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that logs, terminals and `--json` use: lower-case words joined by hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    // Outcomes of a login.
    Accepted = "accepted",
    AnswerEmpty = "answer-empty",
    AnswerIsDummy = "answer-is-dummy",
    AnswerTooShort = "answer-too-short",
    AnswerTooLong = "answer-too-long",
    AnswerWithoutOtp = "answer-without-otp",
    AnswerIsPassword = "answer-is-password",
    UserNotListed = "user-not-listed",
    UserExcused = "user-excused",
    UserExempt = "user-exempt",
    UserNotRequired = "user-not-required",
    UserMayPostpone = "user-may-postpone",
    UserWithoutToken = "user-without-token",
    OtherUsersToken = "other-users-token",
    OtpNotGenuine = "otp-not-genuine",
    OtpReplayed = "otp-replayed",
    OtpBehind = "otp-behind",
    ServerSaysBad = "server-says-bad",
    ServerSaysReplayed = "server-says-replayed",
    TokenDisabled = "token-disabled",
    CodeWrong = "code-wrong",
    CodeUsed = "code-used",
    CodesNeeded = "two-codes-needed",
    ClockBehind = "clock-behind",
    RecoveryCodeWrong = "recovery-code-wrong",
    RecoveryCodeUsed = "recovery-code-used",
    CodesNotHere = "codes-not-here",
    MethodNotAllowed = "method-not-allowed",
    NothingStacked = "nothing-stacked",
    NotAcceptedHere = "not-accepted-here",
    NoAnswer = "no-answer",
    UserChanged = "user-changed",
    Enrolled = "enrolled",
    EnrollmentPostponed = "enrollment-postponed",
    AlreadyEnrolled = "already-enrolled",
    NothingToOffer = "nothing-to-offer",
    SeriesWithoutClaims = "series-without-claims",
    EnrollmentNotNeeded = "enrollment-not-needed",
    EnrollmentBrokenOff = "enrollment-broken-off",
    EnrollProgramMissing = "enroll-program-missing",
    EnrollProgramFailed = "enroll-program-failed",
    InternalError = "internal-error",
    // Files and folders.
    FileMissing = "file-missing",
    PathNotAbsolute = "path-not-absolute",
    PathNotUtf8 = "path-not-utf8",
    FileIsLink = "file-is-link",
    FileOfWrongKind = "file-of-wrong-kind",
    FileOfOtherOwner = "file-of-other-owner",
    FileWritableByOthers = "file-writable-by-others",
    FileReadableByOthers = "file-readable-by-others",
    FileTooLarge = "file-too-large",
    FileLocked = "file-locked",
    FileInaccessible = "file-inaccessible",
    FileExists = "file-exists",
    FileSizeLimit = "file-size-limit",
    // Configuration and arguments of a host.
    ConfigMissing = "config-missing",
    ConfigInvalid = "config-invalid",
    SettingUnknown = "setting-unknown",
    SettingMisplaced = "setting-misplaced",
    SettingInvalid = "setting-invalid",
    SettingMissing = "setting-missing",
    SettingsConflict = "settings-conflict",
    ArgumentUnknown = "argument-unknown",
    ArgumentInvalid = "argument-invalid",
    ArgumentRepeated = "argument-repeated",
    UserNameInPath = "user-name-in-path",
    ClientKeyInPamD = "client-key-in-pam-d",
    ClientKeyReadable = "client-key-readable",
    UnprovenAnswers = "unproven-answers",
    PlainHttp = "plain-http",
    UnprivilegedPort = "unprivileged-port",
    OnlineUnused = "online-unused",
    // The mapping.
    MappingMissing = "mapping-missing",
    MappingEmpty = "mapping-empty",
    MappingLineInvalid = "mapping-line-invalid",
    MappingOtherSpelling = "mapping-other-spelling",
    MappingNameNotPlain = "mapping-name-not-plain",
    PolicyOtherSpelling = "policy-other-spelling",
    UserInBothLists = "user-in-both-lists",
    // The token store of a host.
    StoreMissing = "store-missing",
    StoreKeyMissing = "store-key-missing",
    StoreKeyDamaged = "store-key-damaged",
    PositionsMissing = "positions-missing",
    KeyMissing = "key-missing",
    KeyDamaged = "key-damaged",
    KeySealedElsewhere = "key-sealed-elsewhere",
    KeySealBroken = "key-seal-broken",
    KeyIsHere = "key-is-here",
    PositionMissing = "position-missing",
    PositionOfOtherKey = "position-of-other-key",
    PositionDamaged = "position-damaged",
    PositionImplausible = "position-implausible",
    TokenHasOtherKey = "token-has-other-key",
    KeyOfOtherToken = "key-of-other-token",
    RecoveryCodesFew = "recovery-codes-few",
    ChangeUnfinished = "change-unfinished",
    GuessesDamaged = "guesses-damaged",
    NoticesDamaged = "notices-damaged",
    SecretOfOtherToken = "secret-of-other-token",
    TokenUsedMeanwhile = "token-used-meanwhile",
    LaterOtpAccepted = "later-otp-accepted",
    // Key files.
    KeyFileEmpty = "key-file-empty",
    KeyFileUnknownFormat = "key-file-unknown-format",
    KeyFileEncrypted = "key-file-encrypted",
    KeyFileLaterVersion = "key-file-later-version",
    KeyFileLineInvalid = "key-file-line-invalid",
    KeyFileConflict = "key-file-conflict",
    // Files with token secrets.
    TokenFileEmpty = "token-file-empty",
    TokenFileUnknownFormat = "token-file-unknown-format",
    TokenFileLimit = "token-file-limit",
    TokenFileZip = "token-file-zip",
    TokenFilePasswordNeeded = "token-file-password-needed",
    TokenFilePasswordWrong = "token-file-password-wrong",
    TokenFileLineInvalid = "token-file-line-invalid",
    TokenFileEncodingUnclear = "token-file-encoding-unclear",
    TokenFileHashUnclear = "token-file-hash-unclear",
    TokenFilePskcInvalid = "token-file-pskc-invalid",
    TokenFileConflict = "token-file-conflict",
    TokenFileClockBehind = "token-file-clock-behind",
    // Asking validation servers.
    ClientKeyInvalid = "client-key-invalid",
    NoServers = "no-servers",
    AskProgramMissing = "ask-program-missing",
    AskProgramFailed = "ask-program-failed",
    CannotAsk = "cannot-ask",
    AskFileInvalid = "ask-file-invalid",
    AskLimit = "ask-limit",
    AskVersionMismatch = "ask-version-mismatch",
    ServerNameUnresolved = "server-name-unresolved",
    ServerUnreachable = "server-unreachable",
    ServerSilent = "server-silent",
    ServerTlsFailed = "server-tls-failed",
    ServerHttpFailed = "server-http-failed",
    ServerFailed = "server-failed",
    ProxyFailed = "proxy-failed",
    ProxyTlsFailed = "proxy-tls-failed",
    Undecided = "undecided",
    UndecidedWithheld = "undecided-withheld",
    DecidedDespiteAnswers = "decided-despite-answers",
    // Using the commands.
    CommandLineInvalid = "command-line-invalid",
    InputInvalid = "input-invalid",
    OutputFailed = "output-failed",
    NotRoot = "not-root",
    NoTerminal = "no-terminal",
    FactorySlot = "factory-slot",
    UserNameInvalid = "user-name-invalid",
    UserUnknown = "user-unknown",
    TokenNotAssigned = "token-not-assigned",
    TokenAssigned = "token-assigned",
    TokenRuledOut = "token-ruled-out",
    SeriesMissing = "series-missing",
    ServersDecide = "servers-decide",
    KeyExists = "key-exists",
    SlotInUse = "slot-in-use",
    ProgrammingFailed = "programming-failed",
    NothingImported = "nothing-imported",
    StoreLost = "store-lost",
    SecondConfig = "second-config",
    ServiceUnknown = "service-unknown",
    ServiceDiffers = "service-differs",
    // Reports.
    Checked = "checked",
    NotChecked = "not-checked",
    NothingSetUp = "nothing-set-up",
    // The doctor: lines in pam.d.
    NoServiceAsks = "no-service-asks",
    SiblingDoesNotAsk = "sibling-does-not-ask",
    ServiceFileBroken = "service-file-broken",
    PamLineMisread = "pam-line-misread",
    PamLineTooLong = "pam-line-too-long",
    PamLineUnused = "pam-line-unused",
    PamLinesTooComplex = "pam-lines-too-complex",
    NeverAsked = "never-asked",
    AskedTwice = "asked-twice",
    AskedByPamYubico = "asked-by-pam-yubico",
    NobodyGetsIn = "nobody-gets-in",
    NoQuestionAsked = "no-question-asked",
    OtpBypassed = "otp-bypassed",
    OtpBypassedThenRefused = "otp-bypassed-then-refused",
    OtherFactorEnough = "other-factor-enough",
    OtpEnough = "otp-enough",
    RefusalNotEnforced = "refusal-not-enforced",
    FaultNotEnforced = "fault-not-enforced",
    UsersExempt = "users-exempt",
    ExemptUsersRefused = "exempt-users-refused",
    UnlistedExcused = "unlisted-excused",
    NullokWithoutEffect = "nullok-without-effect",
    NullokNotInAccount = "nullok-not-in-account",
    EnrollWithoutFirstFactor = "enroll-without-first-factor",
    EnrollNotInAuth = "enroll-not-in-auth",
    EnrollWithNullok = "enroll-with-nullok",
    EnrollWithoutPrompt = "enroll-without-prompt",
    EnrollWithoutPolicy = "enroll-without-policy",
    FirstPassWithoutPassword = "first-pass-without-password",
    AccountLineWithoutAuth = "account-line-without-auth",
    AccountLineRefusesUnasked = "account-line-refuses-unasked",
    AccountLineBypassed = "account-line-bypassed",
    AccountLinesMissing = "account-lines-missing",
    SshKeyWithoutOtp = "ssh-key-without-otp",
    // The doctor: sshd, module and program.
    SshdConfigUnreadable = "sshd-config-unreadable",
    SshdWithoutPam = "sshd-without-pam",
    SshdWithoutPrompts = "sshd-without-prompts",
    SshdMatch = "sshd-match",
    ModuleMissing = "module-missing",
    ModuleUnused = "module-unused",
    BinaryUnusable = "binary-unusable",
    VersionMismatch = "version-mismatch",
    AskUserMissing = "ask-user-missing",
    // The doctor: configuration, mapping and store.
    ReplaysAccepted = "replays-accepted",
    SettingsOfEachUser = "settings-of-each-user",
    FilesOfCaller = "files-of-caller",
    StrayFile = "stray-file",
    MappingListsNobody = "mapping-lists-nobody",
    AccountsNotListed = "accounts-not-listed",
    TokenListedTwice = "token-listed-twice",
    TokenShared = "token-shared",
    UpgradeHostsFirst = "upgrade-hosts-first",
    TokenUsable = "token-usable",
    TokenUnusable = "token-unusable",
    TokenNeedsResync = "token-needs-resync",
    PositionSlotDamaged = "position-slot-damaged",
    AesKeyTwice = "aes-key-twice",
    AesKeyInTwoStores = "aes-key-in-two-stores",
    StoreNotWritable = "store-not-writable",
    DiskFull = "disk-full",
    // The doctor: validation servers and clocks.
    ServerAnswers = "server-answers",
    ServerReplyInvalid = "server-reply-invalid",
    ServerReplyNotSigned = "server-reply-not-signed",
    ServerRejectsClient = "server-rejects-client",
    ServerUndecided = "server-undecided",
    ServerOkUnusable = "server-ok-unusable",
    ServerAcceptsAnything = "server-accepts-anything",
    NoServerDecides = "no-server-decides",
    ClockWrong = "clock-wrong",
    // The doctor: one user.
    UserRefused = "user-refused",
    UserNotAsked = "user-not-asked",
    // The validation server: what it decides.
    OtpMalformed = "otp-malformed",
    ParameterMissing = "parameter-missing",
    ParameterInvalid = "parameter-invalid",
    ParameterRepeated = "parameter-repeated",
    RequestUnreadable = "request-unreadable",
    ClientUnknown = "client-unknown",
    ClientDisabled = "client-disabled",
    ClientKeyUnreadable = "client-key-unreadable",
    SignatureWrong = "signature-wrong",
    SignatureMissing = "signature-missing",
    TokenUnknown = "token-unknown",
    KeyUnreadable = "key-unreadable",
    KeyChanged = "key-changed",
    RequestRepeated = "request-repeated",
    ClientRateLimit = "client-rate-limit",
    InFlightLimit = "in-flight-limit",
    DeadlinePassed = "deadline-passed",
    ClientWentAway = "client-went-away",
    TokenRestored = "token-restored",
    TouchTooEarly = "touch-too-early",
    TouchTooLate = "touch-too-late",
    TouchNotLater = "touch-not-later",
    TouchAfterPowerLoss = "touch-after-power-loss",
    TouchAfterOtherUse = "touch-after-other-use",
    TouchTimeDiffers = "touch-time-differs",
    CounterWornOut = "counter-worn-out",
    RestoredTokenAccepted = "restored-token-accepted",
    OtpDecrypted = "otp-decrypted",
    // The validation server: its key storage modules.
    KsmFailed = "ksm-failed",
    KsmUnreachable = "ksm-unreachable",
    KsmTimeout = "ksm-timeout",
    KsmHttpStatus = "ksm-http-status",
    KsmAnswerInvalid = "ksm-answer-invalid",
    KsmDatabaseFailed = "ksm-database-failed",
    KsmInFlightLimit = "ksm-in-flight-limit",
    KsmUrlInvalid = "ksm-url-invalid",
    KsmWithoutTls = "ksm-without-tls",
    // The validation server: its store.
    DatabaseMissing = "database-missing",
    DatabaseExists = "database-exists",
    DatabaseIsBackup = "database-is-backup",
    DatabaseNotOurs = "database-not-ours",
    DatabaseDamaged = "database-damaged",
    DatabaseRowDamaged = "database-row-damaged",
    DatabaseReplaced = "database-replaced",
    DatabaseFromLaterVersion = "database-from-later-version",
    DatabaseFromEarlierVersion = "database-from-earlier-version",
    DatabaseUnderOtherStoreKey = "database-under-other-store-key",
    DatabaseBusy = "database-busy",
    DatabaseFull = "database-full",
    DatabaseReadOnly = "database-read-only",
    DatabaseFailed = "database-failed",
    DatabaseOverloaded = "database-overloaded",
    DatabaseClosed = "database-closed",
    DatabaseInUse = "database-in-use",
    DatabaseBeingRestored = "database-being-restored",
    DatabaseLeftovers = "database-leftovers",
    DatabaseWithoutWal = "database-without-wal",
    RestoreUnfinished = "restore-unfinished",
    BackupFileExists = "backup-file-exists",
    BackupIncomplete = "backup-incomplete",
    DatabaseUnreachable = "database-unreachable",
    DatabaseLoginRefused = "database-login-refused",
    DatabaseUrlInvalid = "database-url-invalid",
    DatabasePasswordTwice = "database-password-twice",
    DatabaseRightsMissing = "database-rights-missing",
    DatabaseIsStandby = "database-is-standby",
    DatabasePooled = "database-pooled",
    DatabaseNotDurable = "database-not-durable",
    DatabaseWithoutStandby = "database-without-standby",
    DatabaseIsOther = "database-is-other",
    DatabaseOldPrimary = "database-old-primary",
    DatabaseStateDamaged = "database-state-damaged",
    DatabaseStateNotWritten = "database-state-not-written",
    DatabaseTwoPrimaries = "database-two-primaries",
    DatabaseTimelineHidden = "database-timeline-hidden",
    DatabaseStandbysHidden = "database-standbys-hidden",
    DatabaseStandbysAsynchronous = "database-standbys-asynchronous",
    DatabaseStandbysAbsent = "database-standbys-absent",
    DatabaseStandbyOptional = "database-standby-optional",
    DatabaseStandbysTooFew = "database-standbys-too-few",
    DatabaseStandbysJustEnough = "database-standbys-just-enough",
    DatabaseLostOtps = "database-lost-otps",
    DatabaseSettling = "database-settling",
    DatabaseRaised = "database-raised",
    DatabaseAvailable = "database-available",
    AesKeyReused = "aes-key-reused",
    // The validation server: certificates.
    CertificateInvalid = "certificate-invalid",
    CertificateKeyMismatch = "certificate-key-mismatch",
    CertificateExpired = "certificate-expired",
    CertificateNotYetValid = "certificate-not-yet-valid",
    CertificateExpiresSoon = "certificate-expires-soon",
    CertificateReloaded = "certificate-reloaded",
    CaFileInvalid = "ca-file-invalid",
    CaBundleMissing = "ca-bundle-missing",
    // The validation server: its configuration.
    ListenWithoutTls = "listen-without-tls",
    ListenOverlaps = "listen-overlaps",
    AddressInvalid = "address-invalid",
    AddressInUse = "address-in-use",
    AddressNotLocal = "address-not-local",
    CannotListen = "cannot-listen",
    PlainHttpAllowed = "plain-http-allowed",
    SignatureNotRequired = "signature-not-required",
    OpenFilesLimit = "open-files-limit",
    TimeLimitTooShort = "time-limit-too-short",
    DeadlineTooLong = "deadline-too-long",
    KsmDeadlineTooLong = "ksm-deadline-too-long",
    SyslogUnavailable = "syslog-unavailable",
    FileClosedToServer = "file-closed-to-server",
    DecryptSocketInvalid = "decrypt-socket-invalid",
    NoClients = "no-clients",
    NoKeys = "no-keys",
    TokensRestored = "tokens-restored",
    // The validation server: how it runs.
    ServerStarted = "server-started",
    ServerStopping = "server-stopping",
    ServerStopped = "server-stopped",
    AcceptFailed = "accept-failed",
    HandshakeFailed = "handshake-failed",
    ConnectionLimit = "connection-limit",
    AddressLimit = "address-limit",
    TokenRateLimit = "token-rate-limit",
    LogLinesLost = "log-lines-lost",
    LogNotWritten = "log-not-written",
    SignalsNotCaught = "signals-not-caught",
    // The validation server: its commands.
    ConfigExists = "config-exists",
    InitUnfinished = "init-unfinished",
    TokenNotHere = "token-not-here",
    ClientExists = "client-exists",
    ExportFileEmpty = "export-file-empty",
    ExportFileEncrypted = "export-file-encrypted",
    ExportLineInvalid = "export-line-invalid",
    ExportLineConflict = "export-line-conflict",
    ImportOtherFormat = "import-other-format",
    ClientHasOtherKey = "client-has-other-key",
    LogWithoutLines = "log-without-lines",
}

/// A text that names no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a code of this version")]
pub struct UnknownCode;

impl core::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name).ok_or(UnknownCode)
    }
}

impl Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn names_are_unique_words_joined_by_hyphens() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            assert!(
                name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit()),
                "{name}"
            );
            assert_eq!(name.parse().map(Code::name), Ok(name));
        }
        assert_eq!("no-such-code".parse::<Code>(), Err(UnknownCode));
    }
}
