// What Argo CD would say of an object, without an Argo CD: its own diff, and our health checks.
//
//	argocd diff   < [{"config": OBJECT, "live": OBJECT}, ...]   the objects as rendered and as stored
//	argocd health SCRIPT.lua < OBJECT                           a Lua health check, run as Argo CD does
//
// Both print JSON.  The diff is that of gitops-engine, the library in which Argo CD has it.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/argoproj/gitops-engine/pkg/diff"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type pair struct {
	Config *unstructured.Unstructured `json:"config"`
	Live   *unstructured.Unstructured `json:"live"`
}

type verdict struct {
	Kind      string          `json:"kind"`
	Name      string          `json:"name"`
	Modified  bool            `json:"modified"`
	Live      json.RawMessage `json:"live,omitempty"`
	Predicted json.RawMessage `json:"predicted,omitempty"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "diff":
		return differences()
	case len(args) == 2 && args[0] == "health":
		return health(args[1])
	}
	return fmt.Errorf("usage: argocd diff < PAIRS | argocd health SCRIPT < OBJECT")
}

func differences() error {
	var pairs []pair
	if err := json.NewDecoder(os.Stdin).Decode(&pairs); err != nil {
		return fmt.Errorf("the pairs cannot be read: %w", err)
	}
	verdicts := make([]verdict, 0, len(pairs))
	for _, one := range pairs {
		result, err := diff.Diff(one.Config, one.Live, diff.WithNormalizer(diff.GetNoopNormalizer()))
		if err != nil {
			return fmt.Errorf("%s %s: %w", one.Config.GetKind(), one.Config.GetName(), err)
		}
		said := verdict{Kind: one.Config.GetKind(), Name: one.Config.GetName(), Modified: result.Modified}
		if result.Modified {
			said.Live, said.Predicted = result.NormalizedLive, result.PredictedLive
		}
		verdicts = append(verdicts, said)
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

func health(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		return fmt.Errorf("the object cannot be read: %w", err)
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	// Argo CD gives a health check these libraries and no others, unless told to.
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}, {lua.StringLibName, lua.OpenString}} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(library.open), Protect: true}, lua.LString(library.name)); err != nil {
			return err
		}
	}
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(string(text)); err != nil {
		return fmt.Errorf("the health check failed: %w", err)
	}
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return fmt.Errorf("the health check returned no table")
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"status":  lua.LVAsString(answer.RawGetString("status")),
		"message": lua.LVAsString(answer.RawGetString("message")),
	})
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch typed := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, one := range typed {
			table.RawSetString(key, toLua(state, one))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, one := range typed {
			table.Append(toLua(state, one))
		}
		return table
	case string:
		return lua.LString(typed)
	case float64:
		return lua.LNumber(typed)
	case bool:
		return lua.LBool(typed)
	}
	return lua.LNil
}
