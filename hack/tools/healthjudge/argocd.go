package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

// healthKey begins the keys of argocd-cm that hold scripts: resource.customizations.health.GROUP_KIND.
const healthKey = "resource.customizations.health."

// scriptTimeout is how long Argo CD lets a script run.
const scriptTimeout = time.Second

// words are the health statuses that Argo CD accepts from a script; it calls everything else Unknown.
var words = map[string]bool{"Healthy": true, "Progressing": true, "Degraded": true, "Suspended": true, "Missing": true, "Unknown": true}

type scriptsOfKinds map[schema.GroupKind]string

// newArgoCD reads scripts from a folder in the layout of Argo CD's own, or from a ConfigMap in the form of argocd-cm.
func newArgoCD(folder, configMap string) (scriptsOfKinds, error) {
	scripts := scriptsOfKinds{}
	if folder != "" {
		files, err := filepath.Glob(filepath.Join(folder, "*", "*", "health.lua"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("%s: no GROUP/KIND/health.lua there (%w)", folder, err)
		}
		for _, file := range files {
			script, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			kind := filepath.Dir(file)
			scripts[schema.GroupKind{Group: filepath.Base(filepath.Dir(kind)), Kind: filepath.Base(kind)}] = string(script)
		}
	}
	if configMap != "" {
		content, err := os.ReadFile(configMap)
		if err != nil {
			return nil, err
		}
		var object struct {
			Data map[string]string `json:"data"`
		}
		if err := yaml.Unmarshal(content, &object); err != nil {
			return nil, fmt.Errorf("%s: %w", configMap, err)
		}
		for key, script := range object.Data {
			if name, ok := strings.CutPrefix(key, healthKey); ok {
				group, kind, _ := strings.Cut(name, "_")
				scripts[schema.GroupKind{Group: group, Kind: kind}] = script
			}
		}
		if len(scripts) == 0 {
			return nil, fmt.Errorf("%s: no key begins with %s", configMap, healthKey)
		}
	}
	return scripts, nil
}

// runScript runs a script as util/lua of Argo CD does for scripts of argocd-cm (useOpenLibs left out): the basic functions, require,
// table; neither string nor math; a second at most; the object as the global obj. What Argo CD leaves of os is missing here, so that no
// script comes to need it.
func runScript(script string, object *unstructured.Unstructured) (word, message string, err error) {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable},
	} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(library.open), Protect: true}, lua.LString(library.name)); err != nil {
			return "", "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	l.SetContext(ctx)
	l.SetGlobal("obj", toLua(l, object.Object))
	if err := l.DoString(script); err != nil {
		return "", "", err
	}
	value := l.Get(-1)
	if value.Type() != lua.LTTable {
		return "", "", fmt.Errorf("the script returned a %s, and Argo CD expects a table", value.Type())
	}
	content, err := luajson.Encode(value)
	if err != nil {
		return "", "", err
	}
	var health struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(content, &health); err != nil {
		return "", "", err
	}
	if !words[health.Status] {
		return "", "", fmt.Errorf("%q is no health of Argo CD", health.Status)
	}
	return health.Status, health.Message, nil
}

// toLua hands an object over. Numbers become those of Lua, which have no integers.
func toLua(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		list := l.CreateTable(len(v), 0)
		for _, item := range v {
			list.Append(toLua(l, item))
		}
		return list
	case map[string]any:
		table := l.CreateTable(0, len(v))
		for key, item := range v {
			table.RawSetString(key, toLua(l, item))
		}
		return table
	default:
		return lua.LNil
	}
}
