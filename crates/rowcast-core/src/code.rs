//! Error codes: stable, one line each, with a page in `docs/src/errors/` that `rowcast explain` prints.
//!
//! A code once published keeps its meaning. Ranges: E01 configuration, E02 source, E03 state and
//! diff, E04 guards, E05 mapping, E06 destination, E07 run, E08 command line, E09 server, E90 defects.

/// How the process ends when this is the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitClass {
    /// 1: a run, a check, a test failed.
    Failed,
    /// 2: usage or invalid configuration.
    Invalid,
    /// 3: cannot connect.
    Connect,
    /// 4: held by a guard.
    Held,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $class:ident, $title:literal;)*) => {
        /// A stable error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* #[doc = $title] $name),* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as printed: `E0203`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// What it means, in one line.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// How the process ends.
            pub fn exit(self) -> ExitClass {
                match self { $(Self::$name => ExitClass::$class),* }
            }

            /// The page that `rowcast explain` prints, in Markdown.
            pub fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("../../../docs/src/errors/", $code, ".md"))),* }
            }
        }
    };
}

codes! {
    // E01 configuration
    ProjectNotFound = "E0101", Invalid, "no project folder was found";
    FileUnreadable = "E0102", Invalid, "a project file can't be read";
    YamlSyntax = "E0103", Invalid, "a file is not valid YAML";
    UnknownKey = "E0104", Invalid, "a key is not known here";
    WrongType = "E0105", Invalid, "a value has the wrong type or form";
    MissingKey = "E0106", Invalid, "a required key is missing";
    NameMismatch = "E0107", Invalid, "an object's name differs from its file's name";
    UnknownReference = "E0108", Invalid, "an object refers to another that does not exist";
    MissingSecret = "E0109", Invalid, "a variable or secret file is missing";
    UnsupportedMode = "E0110", Invalid, "the destination does not support the mode";
    Exclusive = "E0111", Invalid, "keys exclude each other";
    InvalidSchedule = "E0112", Invalid, "a schedule can't be read";
    UnknownConnector = "E0113", Invalid, "the connector does not exist";
    InvalidSetting = "E0114", Invalid, "a destination's setting is wrong";
    UnknownEnvironment = "E0115", Invalid, "the environment does not exist";
    ConnectorAbsent = "E0116", Invalid, "the connector is not in this build";
    SecretInClear = "E0117", Invalid, "a secret or a command came over the API";

    // E02 source
    ConnectFailed = "E0201", Connect, "the server can't be reached";
    LoginFailed = "E0202", Connect, "the server refused the login";
    TlsFailed = "E0203", Connect, "the encrypted connection could not be made as required";
    ServerTooOld = "E0204", Failed, "the PostgreSQL server is too old";
    PermissionMissing = "E0205", Failed, "the role lacks a privilege";
    ModelInvalid = "E0206", Invalid, "the model's SQL can't be run";
    ModelWrites = "E0207", Invalid, "the model tries to write";
    ModelNotOneStatement = "E0208", Invalid, "the model is not exactly one statement";
    RowSecurity = "E0209", Failed, "row-level security would hide rows";
    KeyMissing = "E0210", Invalid, "a primary key column does not exist or is not declared";
    KeyTypeUnsupported = "E0211", Invalid, "a primary key column's type has no equality or order";
    SourceQueryFailed = "E0212", Failed, "a query in the source failed";
    ExcessPrivilege = "E0213", Failed, "the role has more privileges than it should";
    ConnectionLost = "E0214", Connect, "the connection to the server was lost";
    Deadline = "E0215", Failed, "a query took longer than allowed";
    SshUnreachable = "E0216", Connect, "the SSH server can't be reached";
    SshHostKey = "E0217", Connect, "the SSH server's host key is not the pinned one";
    SshAuth = "E0218", Connect, "the SSH server refused the login";
    SshForwarding = "E0219", Connect, "the SSH server refused to forward the connection";

    // E03 state and diff
    StateSchemaMissing = "E0301", Failed, "the state schema does not exist or may not be used";
    StateNotWritable = "E0302", Failed, "the state schema can't be written";
    SyncRunning = "E0303", Failed, "the sync is already running";
    LeaseLost = "E0304", Failed, "another run has taken over the sync";
    IdentityChanged = "E0305", Invalid, "the sync's identity changed";
    DuplicateKeys = "E0306", Failed, "the model returns a key more than once";
    SpoolFull = "E0307", Failed, "the change set does not fit the spool";
    StateLayoutNewer = "E0308", Failed, "the state was written by a newer Rowcast";
    PlanStale = "E0309", Held, "the sealed plan no longer matches the source";
    MirrorConflict = "E0310", Invalid, "two mirrors write to the same object";
    StreamOutOfOrder = "E0311", Failed, "the source's rows did not come in key order";
    StreamTruncated = "E0312", Failed, "the source's answer ended early";
    OldStateMissing = "E0313", Failed, "another tool's state was not found";
    OldStateUnfit = "E0314", Invalid, "another tool's state does not fit the sync";
    StateOccupied = "E0315", Failed, "the sync has state already";

    // E04 guards
    GuardRemoved = "E0401", Held, "too many rows were removed";
    GuardEmpty = "E0402", Held, "the model is empty while state is not";
    GuardColumns = "E0403", Held, "a mapped column was dropped or retyped";
    GuardMovedBack = "E0404", Held, "the source moved back in time";
    GuardChanged = "E0405", Held, "too many rows changed";
    GuardCalls = "E0406", Held, "the run would make too many calls";
    GuardRehash = "E0407", Held, "the earlier checksums can't be computed any more";

    // E05 mapping
    UnknownColumn = "E0501", Invalid, "a mapping names a column that the model does not have";
    ExpressionInvalid = "E0502", Invalid, "an expression can't be read";
    CastFailed = "E0503", Failed, "a value can't be cast";
    ExpressionFailed = "E0504", Failed, "an expression failed for a row";
    NullKey = "E0505", Failed, "a row's primary key is null";
    IdentityClaimedTwice = "E0506", Failed, "two rows claim the same identity";
    MatchMissing = "E0507", Failed, "a row has no value to be matched by";
    SegmentMappingInvalid = "E0508", Invalid, "a Segment mapping is not valid";
    TriggerInvalid = "E0509", Invalid, "a trigger can't be read";
    ConsentMissing = "E0510", Failed, "a row lacks a consent that the destination needs";
    TriggerHeldBack = "E0511", Failed, "the trigger did not let a row pass";

    // E06 destination
    DestinationUnreachable = "E0601", Connect, "the destination can't be reached";
    DestinationAuth = "E0602", Failed, "the destination refused the credentials";
    DestinationRejected = "E0603", Failed, "the destination rejected a record";
    DestinationBusy = "E0604", Failed, "the destination asked to wait or failed";
    AddressRefused = "E0605", Failed, "the destination's address is not allowed";
    NotFound = "E0606", Failed, "the record to update does not exist";
    AlreadyExists = "E0607", Failed, "the record to insert exists already";
    DestinationObject = "E0608", Failed, "the object at the destination is missing or unfit";
    DestinationAnswer = "E0609", Failed, "the destination's answer can't be understood";
    RecordTooLarge = "E0610", Failed, "a record is larger than the destination takes";
    NoResult = "E0611", Failed, "the destination gave no result for a record";
    DestinationFenced = "E0612", Failed, "the destination has seen a newer run of this sync";
    FileUnwritable = "E0613", Failed, "a file can't be written";
    ActionsHostMissing = "E0614", Failed, "a destination of Segment's catalogue can't run here";
    ActionsHostFailed = "E0615", Failed, "the actions host ended, hung or said nonsense";

    // E07 run
    RunFailed = "E0701", Failed, "a run failed";
    EverythingRejected = "E0702", Failed, "every record was rejected";
    RetriesExhausted = "E0703", Failed, "the destination kept failing";
    Cancelled = "E0704", Failed, "the run was cancelled";

    // E08 command line
    Usage = "E0801", Invalid, "the command can't be understood";
    PostgresNotFound = "E0802", Failed, "no PostgreSQL server programs were found";
    TestFailed = "E0803", Failed, "a test of the project failed";
    CheckFailed = "E0804", Failed, "a check failed";
    ImportUnreadable = "E0805", Invalid, "what is to be imported can't be understood";
    ImportExists = "E0806", Invalid, "files to be written exist already";

    // E09 server
    CannotListen = "E0901", Failed, "the server can't listen on its address";
    TokenInvalid = "E0902", Failed, "the request has no valid token";
    ScopeTooSmall = "E0903", Failed, "the token does not permit this";
    RequestInvalid = "E0904", Invalid, "the request can't be understood";
    ObjectInUse = "E0905", Invalid, "others refer to the object";
    FileChanged = "E0906", Invalid, "the file is not the version that was meant";
    ObjectExists = "E0907", Invalid, "there is an object of this name already";
    CommitFailed = "E0908", Failed, "a change could not be committed to Git";
    RequestRepeated = "E0909", Invalid, "the idempotency key was used before";
    TooManyRequests = "E0910", Failed, "the token asks too often";
    AlertUndelivered = "E0911", Failed, "an alert was not delivered";
    SignatureInvalid = "E0912", Failed, "the request is not signed as it should be";
    TooManyWrongTokens = "E0913", Failed, "too many wrong tokens came from one address";

    // E90 defects
    Defect = "E9001", Failed, "a defect in Rowcast";
}

impl Code {
    /// The code of its printed form, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str().eq_ignore_ascii_case(text))
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
