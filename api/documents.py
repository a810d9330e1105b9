"""From the text of a document to operations that are ready to run, kept for the next time.

1. Limits come first, then the rules of GraphQL: what is hostile is refused before it costs.
2. What was prepared is kept, within bounds of number and size. What was refused is not.
3. Nothing here depends on who asks or with which variables.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    specified_rules,
    validate,
)

from api.cost import Cost, cost_of
from api.errors import ApiError, ErrorCode, Refused
from api.limits import check_root_fields, check_shape
from api.plans import Plans, Variables
from infra.settings import Limits

KEPT_DOCUMENTS: Final = 1_000
KEPT_CHARACTERS: Final = 250_000
"""Of query text; a parsed document takes some 150 bytes for each, so this is 40 MB at most."""

Fragments: TypeAlias = Mapping[str, FragmentDefinitionNode]


@dataclass(frozen=True)
class Prepared:
    """A valid operation within its limits."""

    kind: Literal["query", "mutation", "subscription"]
    root_fields: tuple[str, ...]
    """Each once, such as `Query.order` or `Subscription.orderChanged`."""
    cost: Cost
    document: DocumentNode
    operation: OperationDefinitionNode
    variables: Variables
    plans: Plans

    @property
    def operation_name(self) -> str | None:
        return self.operation.name.value if self.operation.name else None


Operations: TypeAlias = Mapping[str | None, Prepared]


class Documents:
    def __init__(
        self, schema: GraphQLSchema, limits: Limits, *, introspection: bool, suggestions: bool
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._hide_suggestions = not suggestions
        closed = () if introspection else (NoSchemaIntrospectionCustomRule,)
        self._rules = (*specified_rules, *closed)
        self._kept: OrderedDict[str, Operations] = OrderedDict()
        self._characters = 0

    def prepare(self, query: str, operation_name: str | None) -> Prepared:
        """Raises `Refused`."""
        operations = self._kept.get(query)
        if operations is None:
            operations = self._prepare(query)
            self._keep(query, operations)
        else:
            self._kept.move_to_end(query)
        if operation_name is None and len(operations) == 1:
            return next(iter(operations.values()))
        if operation_name in operations:
            return operations[operation_name]
        raise _invalid(
            GraphQLError(
                "The document has several operations: say which."
                if operation_name is None
                else "The document has no operation of that name."
            )
        )

    def _keep(self, query: str, operations: Operations) -> None:
        self._kept[query] = operations
        self._characters += len(query)
        while len(self._kept) > KEPT_DOCUMENTS or self._characters > KEPT_CHARACTERS:
            oldest, _ = self._kept.popitem(last=False)
            self._characters -= len(oldest)

    def _prepare(self, query: str) -> Operations:
        document = self._parse(query)
        try:
            check_shape(document, self._limits)
            self._validate(document)
            return self._operations(document)
        except Refused:
            raise
        except ApiError as error:
            raise Refused([error]) from None

    def _parse(self, query: str) -> DocumentNode:
        tokens = self._limits.tokens
        try:
            return parse(query, max_lexical_tokens=tokens, max_comments=tokens)
        except GraphQLSyntaxError as error:
            if f" more than {tokens} " in error.message:
                message = f"The tokens of the document exceed {tokens}."
                raise Refused([ApiError(ErrorCode.LIMIT_EXCEEDED, message)]) from None
            raise Refused([error], ErrorCode.SYNTAX_ERROR) from None

    def _validate(self, document: DocumentNode) -> None:
        errors = validate(
            self._schema,
            document,
            self._rules,
            max_errors=self._limits.errors,
            hide_suggestions=self._hide_suggestions,
        )
        if errors:
            raise _invalid(*errors)

    def _operations(self, document: DocumentNode) -> Operations:
        fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        prepared = [
            self._operation(document, definition, fragments)
            for definition in document.definitions
            if isinstance(definition, OperationDefinitionNode)
        ]
        if not prepared:
            raise _invalid(GraphQLError("The document has no operation."))
        return {each.operation_name: each for each in prepared}

    def _operation(
        self, document: DocumentNode, operation: OperationDefinitionNode, fragments: Fragments
    ) -> Prepared:
        root = self._schema.get_root_type(operation.operation)
        assert root is not None, "validation refuses operations that the schema does not have"
        names = list(_root_fields(operation.selection_set, fragments))
        check_root_fields(names, self._limits)
        if not names:
            raise _invalid(GraphQLError("An operation must select something.", operation))
        return Prepared(
            kind=operation.operation.value,
            root_fields=tuple(sorted({f"{root.name}.{name}" for name in names})),
            cost=cost_of(self._schema, operation, fragments),
            document=document,
            operation=operation,
            variables=Variables(self._schema, operation),
            plans=Plans(self._schema, operation, fragments),
        )


def _root_fields(selection_set: SelectionSetNode, fragments: Fragments) -> Iterator[str]:
    """As often as they are asked for. Valid documents within their limits only."""
    for selection in selection_set.selections:
        if isinstance(selection, FieldNode):
            yield selection.name.value
        elif isinstance(selection, FragmentSpreadNode):
            yield from _root_fields(fragments[selection.name.value].selection_set, fragments)
        elif isinstance(selection, InlineFragmentNode):
            yield from _root_fields(selection.selection_set, fragments)


def _invalid(*errors: GraphQLError) -> Refused:
    return Refused(errors, ErrorCode.VALIDATION_FAILED)
