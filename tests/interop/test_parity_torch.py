"""torch's recurrent modules against the cells that `from_torch` makes of them: outputs, last states
and every gradient, to 1e-5."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from helpers.tables import first

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from jaxrnn.interop.torch import TwoBiases, from_torch, to_torch  # noqa: E402  it needs torch

nn = torch.nn
T, B, F, H = 6, 3, 3, 4
LENGTHS = (T, 2, 4)

CASES = {
    f"{kind} layers={layers} {'both' if both else 'forward'}": (kind, layers, both)
    for kind in ("lstm", "lstm projected", "gru", "tanh", "relu")
    for layers in (1, 2)
    for both in (False, True)
    if kind != "relu" or (layers == 2) == both
}


def module_of(kind, layers, both, **settings):
    torch.manual_seed(0)
    settings = {"num_layers": layers, "bidirectional": both} | settings
    match kind:
        case "lstm":
            return nn.LSTM(F, H, **settings)
        case "lstm projected":
            return nn.LSTM(F, H, proj_size=2, **settings)
        case "gru":
            return nn.GRU(F, H, **settings)
    return nn.RNN(F, H, nonlinearity=kind, **settings)


def arrange(module, leaves):
    """torch's `h_n [layers * directions, B, H]`, or `(h_n, c_n)`, as the state of the cell that
    `from_torch` makes."""
    leaves = [np.asarray(a) for a in leaves]

    def one(i):
        return rnn.LSTMState(leaves[0][i], leaves[1][i]) if len(leaves) == 2 else leaves[0][i]

    if module.bidirectional:
        states = tuple((one(2 * i), one(2 * i + 1)) for i in range(module.num_layers))
    else:
        states = tuple(one(i) for i in range(module.num_layers))
    return states if module.num_layers > 1 else states[0]


def theirs(module, xs, state, weights, lengths):
    """Outputs, last state, and the gradients of a loss over them in params, first state and inputs,
    in our structure."""
    module.zero_grad()
    xs = torch.tensor(xs, requires_grad=True)
    state = [torch.tensor(a, requires_grad=True) for a in state]
    given = (
        xs
        if lengths is None
        else nn.utils.rnn.pack_padded_sequence(xs, torch.tensor(lengths), enforce_sorted=False)
    )
    ys, last = module(given, tuple(state) if len(state) == 2 else state[0])
    if lengths is not None:
        ys, _ = nn.utils.rnn.pad_packed_sequence(ys, total_length=T)
    last = list(last) if len(state) == 2 else [last]
    sum((torch.tensor(w) * a).sum() for w, a in zip(weights, [ys, *last], strict=True)).backward()

    # A module whose weights are the gradients; those of two added biases are equal,
    # so one is enough.
    gradients = copy.deepcopy(module)
    with torch.no_grad():
        for (name, slot), p in zip(gradients.named_parameters(), module.parameters(), strict=True):
            grad = p.grad.clone()
            if name.startswith("bias_hh"):
                grad[: 2 * H if isinstance(module, nn.GRU) else None] = 0
            slot.copy_(grad)
    last, grad_state = (
        arrange(module, [a.detach() for a in last]),
        arrange(module, [a.grad for a in state]),
    )
    return (last, ys.detach().numpy()), (from_torch(gradients)[1], grad_state, xs.grad.numpy())


def close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients(name):
    module = module_of(*CASES[name])
    cell, params = from_torch(module)
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(T, B, F)).astype("float32")
    rows = module.num_layers * (1 + module.bidirectional)
    sizes = {"LSTM": (module.proj_size or H, H)}.get(type(module).__name__, (H,))
    state = [rng.normal(size=(rows, B, size)).astype("float32") for size in sizes]
    weights = [rng.normal(size=(T, B, sizes[0] * (1 + module.bidirectional))).astype("float32")]
    weights += [rng.normal(size=a.shape).astype("float32") for a in state]

    def loss(inputs, mask):
        params, state, xs = inputs
        last, ys = rnn.unroll(cell, params, xs, state=state, mask=mask)
        pairs = zip(
            jax.tree.leaves((weights[0], arrange(module, weights[1:]))),
            jax.tree.leaves((ys, last)),
            strict=True,
        )
        return sum((w * a).sum() for w, a in pairs), (last, ys)

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for lengths in (None, LENGTHS):
        mask = rnn.lengths_to_mask(jnp.array(lengths or (T,) * B), T)
        ours = run(jax.tree.map(jnp.asarray, (params, arrange(module, state), xs)), mask)
        (_, results), grads = ours
        want, want_grads = theirs(module, xs, state, weights, lengths)
        close(results, want)
        close(grads, want_grads)


@pytest.mark.parametrize("kind", ["lstm", "lstm projected", "gru", "tanh", "relu"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"layers": 2, "both": True, "dropout": 0.25},
        {"bias": False, "dtype": torch.float64},
        {"dtype": torch.bfloat16},
    ],
)
def test_there_and_back(kind, settings):
    settings = {"layers": 1, "both": False} | settings
    with jax.enable_x64(settings.get("dtype") == torch.float64):
        module = module_of(kind, **settings)
        cell, params = from_torch(module)
        assert {str(a.dtype) for a in jax.tree.leaves(params)} == {
            str(settings.get("dtype", torch.float32)).removeprefix("torch.")
        }
        back = to_torch(cell, params)
        assert type(back) is type(module)
        assert back.dropout == module.dropout
        again, same = from_torch(back)
        assert again == cell
        jax.tree.map(np.testing.assert_array_equal, params, same)
        xs = torch.ones(T, B, F, dtype=settings.get("dtype"))
        if "dtype" not in settings:
            torch.testing.assert_close(back.eval()(xs)[0], module.eval()(xs)[0])


@pytest.mark.parametrize("kind", first(1, ["tanh", "gru", "lstm projected"]))
def test_training_with_both_biases_kept_moves_as_in_torch(kind):
    """SGD with momentum and weight decay, then Adam; with one bias it moves otherwise."""
    layers = 2 if kind == "gru" else 1
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(T, B, F)).astype("float32")
    makers = {
        "sgd": (
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
            optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9)),
        ),
        "adam": (lambda p: torch.optim.Adam(p, 0.01), optax.adam(0.01)),
    }
    for theirs_of, tx in makers.values():
        module = module_of(kind, layers, layers == 2)
        cell, params = from_torch(module, biases="both")
        single, summed = from_torch(module)
        there = theirs_of(module.parameters())
        for _ in range(3):
            there.zero_grad()
            module(torch.tensor(xs))[0].square().sum().backward()
            there.step()

        def trained(cell, params, tx=tx):
            @jax.jit
            def update(params, state):  # optax promotes
                grads = jax.grad(lambda p: jnp.square(rnn.unroll(cell, p, xs)[1]).sum())(params)
                updates, state = tx.update(grads, state, params)
                return optax.apply_updates(params, updates), state

            with jax.numpy_dtype_promotion("standard"):
                state = tx.init(params)
                for _ in range(3):
                    params, state = update(params, state)
            return params

        ours = to_torch(cell, trained(cell, params))
        assert repr(ours) == repr(module)
        for (name, a), b in zip(ours.named_parameters(), module.parameters(), strict=True):
            np.testing.assert_allclose(
                a.detach(), b.detach(), rtol=1e-3, atol=1e-4, err_msg=f"{kind} {name}"
            )
        other = to_torch(single, trained(single, summed))
        moved = [(one.bias_ih_l0 + one.bias_hh_l0).detach().numpy()[:H] for one in (other, module)]
        assert np.abs(moved[0] - moved[1]).max() > 1e-2


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_two_biases_there_and_back(kind):
    for settings in ({}, {"bias": False}):
        module = module_of(kind, 2, True, dropout=0.25, **settings)
        cell, params = from_torch(module, biases="both")
        again, same = from_torch(to_torch(cell, params), biases="both")
        assert again == cell
        jax.tree.map(np.testing.assert_array_equal, params, same)


@pytest.mark.slow
def test_two_biases_under_the_laws():
    fresh = TwoBiases(rnn.GRU(3)).init(jax.random.key(0), 2)
    assert fresh["b_h"].shape == (6,)
    rnn.testing.check_cell(TwoBiases(rnn.GRU(3)), 2, laws=(1, 7), dtypes=(jnp.float32,))


@pytest.mark.parametrize("kind", ["lstm", "lstm projected", "gru", "tanh"])
@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "bidirectional": True, "bias": False}])
def test_a_state_dict_says_what_it_is_of(kind, settings):
    module = module_of(kind, 1, False, **settings)
    state = module.state_dict(prefix="encoder.") | {"head.weight": torch.ones(2, dtype=torch.int64)}
    for biases in ("sum", "both"):
        cell, params = from_torch(state, prefix="encoder.", biases=biases)
        again, same = from_torch(module, biases=biases)
        assert again == cell
        jax.tree.map(np.testing.assert_array_equal, params, same)
    back = to_torch(cell, params).state_dict()
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(back[name], tensor, rtol=0, atol=0)


def test_what_a_state_dict_does_not_say_is_an_argument():
    state = module_of("relu", 2, False, dropout=0.25).state_dict()
    cells = from_torch(state, nonlinearity="relu", dropout=0.25)[0].cells
    assert cells == (rnn.Elman(H, "relu"), rnn.Dropout(0.25), rnn.Elman(H, "relu"))
    assert from_torch(state)[0].cells == (rnn.Elman(H), rnn.Elman(H))


@pytest.mark.parametrize("make", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_single_cells(make):
    torch.manual_seed(0)
    module = make(F, H)
    cell, params = from_torch(module.state_dict())
    x = torch.randn(B, F)
    want = module(x)
    want = want[0] if isinstance(want, tuple) else want
    close(
        rnn.advance(cell, params, cell.initial_state(params, (B,)), jnp.asarray(x.numpy()))[1],
        want.detach().numpy(),
    )


def test_gru_holds_the_recurrent_bias():
    """Defect 4 of the peers: nnx.GRUCell has no place for it."""
    module = module_of("gru", 1, False)
    _, params = from_torch(module)
    np.testing.assert_array_equal(params["b_n"], module.bias_hh_l0.detach()[2 * H :])


@pytest.mark.parametrize(
    "cell",
    [
        rnn.GRU(H, reset_after=False),
        rnn.PeepholeLSTM(H),
        rnn.Elman(H, "softplus"),
        rnn.Stack((rnn.LSTM(H), rnn.GRU(H))),
        rnn.Stack((rnn.LSTM(H), rnn.LSTM(H + 1))),
        rnn.Stack((rnn.LSTM(H), rnn.Dropout(0.1, per="sequence"), rnn.LSTM(H))),
        rnn.Stack((rnn.LSTM(H), rnn.LSTM(H), rnn.Dropout(0.1))),
        rnn.Stack((rnn.LSTM(H), rnn.Dropout(0.1))),
        rnn.Bidirectional(rnn.GRU(H), merge="sum"),
        rnn.Bidirectional(rnn.GRU(H), rnn.GRU(H, reset_after=False)),
    ],
    ids=repr,
)
def test_what_torch_lacks_is_refused(cell):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), rnn.features(F)))
    with pytest.raises(ValueError, match="torch does not have"):
        to_torch(cell, params)


def test_other_modules_are_refused():
    with pytest.raises(ValueError, match=r"got a Linear; need an nn\.LSTM"):
        from_torch(nn.Linear(2, 3))
