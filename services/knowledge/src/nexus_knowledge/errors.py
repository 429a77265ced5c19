"""Every error this library raises on purpose, in one tree."""


class KnowledgeError(Exception):
    """Root of the tree.  ``transient`` says whether the same call may succeed later."""

    transient = False


class ObjectError(KnowledgeError):
    """Something is wrong with an object of the bucket."""


class InvalidKey(ObjectError):
    """The key can never name an object (empty segment, ``..``, NUL, too long ...)."""


class ObjectNotFound(ObjectError):
    """No object has this key."""


class ObjectChanged(ObjectError):
    """The object is no longer the one that was listed; the next sync sees the new one."""


class ObjectTooLarge(ObjectError):
    """The object is larger than the caller wants to read."""


class ObjectUnreadable(ObjectError):
    """The object is there, but may not be read by this process."""


class StoreUnavailable(ObjectError):
    """The object store does not answer, or its disk refuses the operation."""

    transient = True


class StoreRefused(ObjectError):
    """The object store answers, but refuses: credentials, rights, clock or request are wrong."""


class BucketNotFound(ObjectError):
    """The bucket does not exist; that is not the same as an empty one."""


class UnsupportedUrl(KnowledgeError):
    """A URL names a kind of store that is not offered."""


class LedgerError(KnowledgeError):
    """Something is wrong with the ledger."""


class LedgerUnavailable(LedgerError):
    """The ledger's database does not answer or stays locked."""

    transient = True


class LedgerConflict(LedgerUnavailable):
    """Other transactions were in the way of this one, again and again."""


class LedgerOutdated(LedgerError):
    """The ledger's tables are not those of this release; run the migration first."""


class IndexGone(LedgerError):
    """The index is being torn down, or another resource of the same name owns it now."""


class ListingOutdated(LedgerError):
    """A later sync has listed the bucket; what this one saw must not be acted on."""


class DocumentNotFound(LedgerError):
    """The index holds no such document."""


class VectorError(KnowledgeError):
    """Something is wrong with the vector index."""


class CollectionNotFound(VectorError):
    """The collection does not exist (any more)."""


class CollectionMismatch(VectorError):
    """The collection exists with another dimension than the embedder's vectors."""


class VectorsUnavailable(VectorError):
    """The vector index does not answer."""

    transient = True


class EmbeddingError(KnowledgeError):
    """The embedder refused the request; its message says why."""


class EmbedderUnavailable(EmbeddingError):
    """The embedder does not answer, or is full."""

    transient = True


class RetrievalError(KnowledgeError):
    """The search cannot be made as asked."""


class InvalidFilter(RetrievalError):
    """The filter of a search is malformed; the message names the field."""


class ModeNotOffered(RetrievalError):
    """The retrieval mode is unknown or not offered yet."""


class IndexNotReady(RetrievalError):
    """No sync has been published yet, so there is nothing to search."""

    transient = True


class QuestionTooLong(KnowledgeError):
    """Not even the question fits the tokens that a prompt may have."""
